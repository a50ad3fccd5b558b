// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// withoutConsent has the zone refuse exchanges for want of consent, until the returned function is called.
func withoutConsent(w *world.World) (undo func()) {
	return w.Refused("insufficient_authorization", "User consent is required")
}

// consentElsewhere has the person consent in another place than the operator's: an application of hers is given a token, with
// which the zone makes the grant.
func consentElsewhere(w *world.World, who string) {
	w.T.Helper()
	pool := keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.Clock.Now})
	zone, err := pool.Zone(w.Zone.Issuer)
	must.Succeed(w.T, err)
	subject, err := keycard.ImpersonationToken(who)
	must.Succeed(w.T, err)
	_, err = zone.Exchange(w.Ctx, keycard.ExchangeRequest{
		ClientAuth: keycard.ClientSecretBasic{ClientID: "reports", ClientSecret: redacted.New(world.ReportsSecret)},
		Resource:   "https://api.atlassian.com/ex/confluence", Scopes: []string{"read:confluence-content.all"},
		SubjectToken: subject, SubjectTokenType: keycard.TokenTypeSubstituteUser,
	})
	must.Succeed(w.T, err)
}

// lookFor lets time go by, looks for consent as the operator does, and reconciles whom that concerns.
func lookFor(w *world.World, d time.Duration) (woken []types.NamespacedName) {
	w.T.Helper()
	for range int(d / (5 * time.Second)) {
		w.Clock.Step(5 * time.Second)
		for _, key := range w.LookForConsent() {
			woken = append(woken, key)
			_, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: key})
			must.Succeed(w.T, err)
		}
	}
	return woken
}

// untilLooked lets time go by until the whole operator has looked for consent.
func untilLooked(w *world.World) {
	w.T.Helper()
	before := w.Requests.Count(listGrants)
	w.Eventually("the grants are listed", func(context.Context) (bool, error) {
		if w.Requests.Count(listGrants) > before {
			return true, nil
		}
		w.Clock.Step(time.Second)
		return false, nil
	})
}

// denied has the zone's policies forbid exchanges, until the returned function is called.
func denied(w *world.World) (undo func()) {
	return w.Refused("access_denied", "Access denied by policy.")
}

// waiting makes bindings of the person that wait for her consent.
func waiting(w *world.World, names ...string) (list []*v1alpha1.ConfluenceTokenBinding) {
	w.T.Helper()
	defer withoutConsent(w)()
	for _, name := range names {
		b := w.Binding(name)
		must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
		w.ReconcileBinding(b)
		w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
		list = append(list, b)
	}
	return list
}

// The message of missing consent says who has to consent and where. A link or a command is there for a binding that names
// its user only: the page knows no others.
func TestWhoMustConsent(t *testing.T) {
	for _, page := range []string{"", "https://consent.example"} {
		for name, tt := range map[string]struct {
			subject v1alpha1.Subject
			says    string
			invited bool
		}{
			"a user": {v1alpha1.Subject{User: world.User}, world.User + " has not consented to the resource", true},
			"an access token": {
				v1alpha1.Subject{AccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "session", Key: "token"}},
				"The person whose access token is in key token of Secret session has not consented", false,
			},
			"a session": {
				v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "session", Key: "token"}},
				"The person whose session is in key token of Secret session has not consented", false,
			},
			"an application": {v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}, "Name a person in spec.subject.user", false},
		} {
			t.Run(name+" "+page, func(t *testing.T) {
				w := world.New(t)
				w.ConsentPage()
				if page != "" {
					base, err := url.Parse(page)
					must.Succeed(t, err)
					w.Rebuild(func(d *tokenbinding.Deps) { d.ConsentURL = base })
				}
				install, b := w.Install(), w.Binding("reports")
				b.Spec.Subject = tt.subject
				must.Succeed(t, w.K8s.Create(w.Ctx, install))
				must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "session"}, Data: map[string][]byte{"token": []byte("x")},
				}))
				must.Succeed(t, w.K8s.Create(w.Ctx, w.Binding("another"))) // for which the application for consent is registered
				w.ReconcileResource(install)
				must.Succeed(t, w.K8s.Create(w.Ctx, b))
				defer withoutConsent(w)()
				w.ReconcileBinding(b)
				message := w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired)
				if !strings.Contains(message, tt.says) {
					t.Errorf("the message does not say %q: %s", tt.says, message)
				}
				wantURL := tt.invited && page != ""
				wantCommand := tt.invited && page == ""
				if got := b.Status.ConsentURL != ""; got != wantURL {
					t.Errorf("the link is %q", b.Status.ConsentURL)
				}
				if got := strings.Contains(message, "kubectl keycard consent"); got != wantCommand {
					t.Errorf("the message names the command: %v: %s", got, message)
				}
			})
		}
	}
}

// A remedy that is applied through the KeycardResource helps as soon as the install's controller is done with it. The edit
// wakes the binding before that, and it is refused once more. Writes of the install's status that say nothing new of it lead
// to no exchange.
func TestRemedyThroughTheInstall(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.KeycardResourceSpec){
		"policies": func(s *v1alpha1.KeycardResourceSpec) {
			s.Policies = []v1alpha1.AccessPolicy{{Name: "all", Cedar: "permit (principal, action, resource);"}}
		},
		"applications": func(s *v1alpha1.KeycardResourceSpec) {
			s.Applications = []v1alpha1.ApplicationReference{{Identifier: "reports"}}
		},
		"nothing but a policy less": func(s *v1alpha1.KeycardResourceSpec) { s.Policies = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			install := w.Install()
			install.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "some", Cedar: "permit (principal is Keycard::User, action, resource);"}}
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			w.ReconcileResource(install)
			w.Expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			healthy := w.Binding("healthy")
			must.Succeed(t, w.K8s.Create(w.Ctx, healthy))
			w.ReconcileBinding(healthy)
			undo := denied(w)
			b := w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, b))
			exchanged := func(want int, when string) {
				t.Helper()
				w.Requests.Take()
				for range 3 { // several events may come of one change
					w.ReconcileBinding(b)
					w.ReconcileBinding(healthy)
				}
				if n := w.Requests.Count(world.Exchanges); n != want {
					t.Errorf("%s: %d exchanges, want %d", when, n, want)
				}
			}
			exchanged(1, "a new binding")
			w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
			w.ReconcileResource(install)
			install.Status.RedirectURI = "https://other.example/callback"
			must.Succeed(t, w.K8s.Status().Update(w.Ctx, install))
			exchanged(0, "a status that says nothing new")

			edit(&install.Spec)
			must.Succeed(t, w.K8s.Update(w.Ctx, install))
			exchanged(1, "an edit")
			w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
			undo()
			exchanged(0, "before the install is done")
			w.ReconcileResource(install)
			w.Expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			exchanged(1, "the install is done")
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// An install that fails and recovers, again and again, does not lead to more exchanges than its bindings make by themselves.
func TestInstallThatFlickers(t *testing.T) {
	w := world.New(t)
	install, b := w.Install(), w.Binding("reports")
	install.Spec.Applications = []v1alpha1.ApplicationReference{{Identifier: "reports"}}
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	defer denied(w)()
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Requests.Take()
	for range 5 {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown, metav1.ConditionTrue} {
			for i := range install.Status.Conditions {
				install.Status.Conditions[i].Status = status
			}
			must.Succeed(t, w.K8s.Status().Update(w.Ctx, install))
			w.ReconcileBinding(b)
		}
	}
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}

const (
	listGrants = "api GET /zones/zn-demo/delegated-grants"
	oneUser    = "api GET /zones/zn-demo/users/"
)

// Consent that is given elsewhere is noticed within half a minute, by all bindings of the person and by nobody else. Until
// then no exchange is made for it, and when nobody waits any more, nothing is asked.
func TestConsentElsewhere(t *testing.T) {
	byID := func(c *devzone.Config) {
		world.IdentifiedByID(c)
		c.Seed.Applications[0].MayImpersonate = []string{world.UserID, "bob@example.com"}
	}
	for identifier, change := range map[string]func(*devzone.Config){world.User: func(*devzone.Config) {}, world.UserID: byID} {
		t.Run("the zone knows her as "+identifier, func(t *testing.T) {
			w := world.New(t, change)
			install := w.Install()
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			w.ReconcileResource(install)
			w.Requests.Take()
			if woken := lookFor(w, time.Minute); len(woken) > 0 || w.Requests.Count("") > 0 {
				t.Errorf("nobody waits; %v woken, asked %v", woken, w.Requests.Take())
			}
			hers := waiting(w, "first", "second")
			his := w.Binding("his")
			his.Spec.Subject.User = "bob@example.com"
			must.Succeed(t, w.K8s.Create(w.Ctx, his))
			w.ReconcileBinding(his)
			w.Expect(his, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
			w.Requests.Take()

			if woken := lookFor(w, 5*time.Minute); len(woken) > 0 || w.Requests.Count(world.Exchanges) > 0 {
				t.Errorf("nobody consented; %v woken, %d exchanges", woken, w.Requests.Count(world.Exchanges))
			}
			if n := w.Requests.Count(listGrants); n != 20 {
				t.Errorf("the grants were listed %d times in 5 minutes", n)
			}
			consentElsewhere(w, identifier)
			w.Requests.Take()
			if woken := lookFor(w, 25*time.Second); len(woken) != len(hers) {
				t.Errorf("woken are %v", woken)
			}
			for _, b := range hers {
				must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
				w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			}
			if n, m := w.Requests.Count(world.Exchanges), w.Requests.Count(oneUser); n != len(hers) || m != 1 {
				t.Errorf("%d exchanges, %d users looked up", n, m)
			}
			must.Succeed(t, w.K8s.Delete(w.Ctx, his))
			w.ReconcileBinding(his)
			w.Requests.Take()
			if woken := lookFor(w, time.Minute); len(woken) > 0 || w.Requests.Count("") > 0 {
				t.Errorf("nobody waits any more; %v woken, asked %v", woken, w.Requests.Take())
			}
		})
	}
}

// Consent that is withdrawn while the token is good, and given again elsewhere, is noticed as soon.
func TestConsentElsewhereWithAToken(t *testing.T) {
	w := world.New(t)
	_, b := w.Ready()
	undo := withoutConsent(w)
	w.Due(b)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	undo()
	withdrawn := w.Requests.Answer(listGrants, func(rw http.ResponseWriter, _ *http.Request) { world.WriteJSON(rw, `{"items":[]}`) })
	w.Requests.Take()
	if woken := lookFor(w, time.Minute); len(woken) > 0 || w.Requests.Count(listGrants) == 0 {
		t.Errorf("it is withdrawn; %v woken, asked %v", woken, w.Requests.Take())
	}
	withdrawn()
	if woken := lookFor(w, 25*time.Second); len(woken) != 1 {
		t.Errorf("woken are %v", woken)
	}
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// A grant that is not what the binding misses wakes it once.
func TestConsentThatDoesNotHelp(t *testing.T) {
	w := world.New(t)
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	b := waiting(w, "reports")[0]
	lookFor(w, time.Minute)
	consentElsewhere(w, world.User)
	defer withoutConsent(w)()
	w.Requests.Take()
	if woken := lookFor(w, 9*time.Minute); len(woken) != 1 || w.Requests.Count(world.Exchanges) != 1 {
		t.Errorf("woken %v, %d exchanges", woken, w.Requests.Count(world.Exchanges))
	}
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
	w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
}

// Consent that is noticed while an exchange is under way, which the zone refuses yet, is not forgotten over that.
func TestConsentDuringAnExchange(t *testing.T) {
	w := world.New(t)
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	b := waiting(w, "reports")[0]
	lookFor(w, time.Minute)
	consentElsewhere(w, world.User)
	w.Clock.Step(11 * time.Minute)
	var woken []types.NamespacedName
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		woken = w.LookForConsent()
		world.WriteJSON(rw, `{"error":"insufficient_authorization"}`)
	})
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
	if len(woken) != 1 {
		t.Fatalf("woken are %v", woken)
	}
	undo()
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A management API that fails is asked less and less often, no sooner than it wants, and consent is noticed when it is back.
func TestConsentWhileGrantsCannotBeListed(t *testing.T) {
	for name, tt := range map[string]struct {
		header string
		status int
		most   int
	}{
		"it fails":        {"", http.StatusBadGateway, 7},
		"it wants peace":  {"1200", http.StatusTooManyRequests, 1},
		"it is forbidden": {"", http.StatusForbidden, 7},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			install := w.Install()
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			w.ReconcileResource(install)
			b := waiting(w, "reports")[0]
			undo := w.Requests.Answer(listGrants, func(rw http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					rw.Header().Set("Retry-After", tt.header)
				}
				rw.WriteHeader(tt.status)
			})
			w.Requests.Take()
			lookFor(w, 20*time.Minute)
			if n := w.Requests.Count(listGrants); n < 1 || n > tt.most {
				t.Errorf("asked %d times in 20 minutes", n)
			}
			undo()
			consentElsewhere(w, world.User)
			lookFor(w, 11*time.Minute)
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			if n := strings.Count(w.Logs.String(), "can't be listed"); n != 1 {
				t.Errorf("it was logged %d times", n)
			}
		})
	}
}

// While the zone asks for a pause, its grants are not listed either.
func TestNoLookWhileTheZonePauses(t *testing.T) {
	w := world.New(t)
	install, throttled := w.Install(), w.Binding("throttled")
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	waiting(w, "reports")
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "120")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	must.Succeed(t, w.K8s.Create(w.Ctx, throttled))
	w.ReconcileBinding(throttled)
	undo()
	w.Requests.Take()
	lookFor(w, 110*time.Second)
	if n := w.Requests.Count(listGrants); n != 0 {
		t.Errorf("listed %d times", n)
	}
	lookFor(w, 20*time.Second)
	if n := w.Requests.Count(listGrants); n == 0 {
		t.Error("not listed when the pause was over")
	}
}

// The whole operator: consent elsewhere needs nobody to touch a binding.
func TestConsentElsewhereWithWatches(t *testing.T) {
	w := world.New(t)
	undo := withoutConsent(w)
	install, b := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	w.StartOperator(func(o *controllers.Options) { o.Clock, o.WatchEvery = w.Clock, 50*time.Millisecond })
	w.Eventually("the first look", func(context.Context) (bool, error) { return w.Requests.Count(listGrants) > 0, nil })
	undo()
	consentElsewhere(w, world.User)
	untilLooked(w)
	w.UntilReady(b)
}
