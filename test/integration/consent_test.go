// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
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
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// withoutConsent has the zone refuse exchanges for want of consent, until the returned function is called.
func (w *world) withoutConsent() (undo func()) {
	return w.refused("insufficient_authorization", "User consent is required")
}

func (w *world) refused(code, description string) (undo func()) {
	return w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(rw, `{"error":%q,"error_description":%q}`, code, description)
	})
}

// consentElsewhere has the person consent in another place than the operator's: an application of hers is given a token, with
// which the zone makes the grant.
func (w *world) consentElsewhere(who string) {
	w.t.Helper()
	pool := keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.clock.Now})
	zone, err := pool.Zone(w.zone.Issuer)
	must(w.t, err)
	subject, err := keycard.ImpersonationToken(who)
	must(w.t, err)
	_, err = zone.Exchange(w.ctx, keycard.ExchangeRequest{
		ClientAuth: keycard.ClientSecretBasic{ClientID: "reports", ClientSecret: redacted.New(reportsSecret)},
		Resource:   "https://api.atlassian.com/ex/confluence", Scopes: []string{"read:confluence-content.all"},
		SubjectToken: subject, SubjectTokenType: keycard.TokenTypeSubstituteUser,
	})
	must(w.t, err)
}

// lookFor lets time go by, looks for consent as the operator does, and reconciles whom that concerns.
func (w *world) lookFor(d time.Duration) (woken []types.NamespacedName) {
	w.t.Helper()
	for range int(d / (5 * time.Second)) {
		w.clock.Step(5 * time.Second)
		for _, key := range w.bindings.LookForConsent(w.ctx) {
			woken = append(woken, key)
			_, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: key})
			must(w.t, err)
		}
	}
	return woken
}

// untilLooked lets time go by until the whole operator has looked for consent.
func (w *world) untilLooked() {
	w.t.Helper()
	before := w.requests.count(listGrants)
	w.eventually("the grants are listed", func(context.Context) (bool, error) {
		if w.requests.count(listGrants) > before {
			return true, nil
		}
		w.clock.Step(time.Second)
		return false, nil
	})
}

// denied has the zone's policies forbid exchanges, until the returned function is called.
func (w *world) denied() (undo func()) { return w.refused("access_denied", "Access denied by policy.") }

// waiting makes bindings of the person that wait for her consent.
func (w *world) waiting(names ...string) (list []*v1alpha1.ConfluenceTokenBinding) {
	w.t.Helper()
	defer w.withoutConsent()()
	for _, name := range names {
		b := w.binding(name)
		must(w.t, w.k8s.Create(w.ctx, b))
		w.reconcileBinding(b)
		w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
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
			"a user": {v1alpha1.Subject{User: user}, user + " has to consent to the resource", true},
			"an access token": {
				v1alpha1.Subject{AccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "session", Key: "token"}},
				"the person whose access token is in key token of Secret session has to consent", false,
			},
			"a session": {
				v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "session", Key: "token"}},
				"the person whose session is in key token of Secret session has to consent", false,
			},
			"an application": {v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}, "name a person in spec.subject.user", false},
		} {
			t.Run(name+" "+page, func(t *testing.T) {
				w := newWorld(t)
				w.resources.ConsentRedirectURIs = consentRedirectURIs
				if page != "" {
					base, err := url.Parse(page)
					must(t, err)
					w.bindings.ConsentURL = base
				}
				install, b := w.install(), w.binding("reports")
				b.Spec.Subject = tt.subject
				must(t, w.k8s.Create(w.ctx, install))
				must(t, w.k8s.Create(w.ctx, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "session"}, Data: map[string][]byte{"token": []byte("x")},
				}))
				must(t, w.k8s.Create(w.ctx, w.binding("another"))) // for which the application for consent is registered
				w.reconcileResource(install)
				must(t, w.k8s.Create(w.ctx, b))
				defer w.withoutConsent()()
				w.reconcileBinding(b)
				message := w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
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
			w := newWorld(t)
			install := w.install()
			install.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "some", Cedar: "permit (principal is Keycard::User, action, resource);"}}
			must(t, w.k8s.Create(w.ctx, install))
			w.reconcileResource(install)
			w.expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			healthy := w.binding("healthy")
			must(t, w.k8s.Create(w.ctx, healthy))
			w.reconcileBinding(healthy)
			undo := w.denied()
			b := w.binding("reports")
			must(t, w.k8s.Create(w.ctx, b))
			exchanged := func(want int, when string) {
				t.Helper()
				w.requests.take()
				for range 3 { // several events may come of one change
					w.reconcileBinding(b)
					w.reconcileBinding(healthy)
				}
				if n := w.requests.count(exchanges); n != want {
					t.Errorf("%s: %d exchanges, want %d", when, n, want)
				}
			}
			exchanged(1, "a new binding")
			w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
			w.reconcileResource(install)
			install.Status.RedirectURI = "https://other.example/callback"
			must(t, w.k8s.Status().Update(w.ctx, install))
			exchanged(0, "a status that says nothing new")

			edit(&install.Spec)
			must(t, w.k8s.Update(w.ctx, install))
			exchanged(1, "an edit")
			w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
			undo()
			exchanged(0, "before the install is done")
			w.reconcileResource(install)
			w.expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			exchanged(1, "the install is done")
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// An install that fails and recovers, again and again, does not lead to more exchanges than its bindings make by themselves.
func TestInstallThatFlickers(t *testing.T) {
	w := newWorld(t)
	install, b := w.install(), w.binding("reports")
	install.Spec.Applications = []v1alpha1.ApplicationReference{{Identifier: "reports"}}
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	defer w.denied()()
	must(t, w.k8s.Create(w.ctx, b))
	w.reconcileBinding(b)
	w.requests.take()
	for range 5 {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown, metav1.ConditionTrue} {
			for i := range install.Status.Conditions {
				install.Status.Conditions[i].Status = status
			}
			must(t, w.k8s.Status().Update(w.ctx, install))
			w.reconcileBinding(b)
		}
	}
	if n := w.requests.count(exchanges); n != 0 {
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
		identifiedByID(c)
		c.Seed.Applications[0].MayImpersonate = []string{userID, "bob@example.com"}
	}
	for identifier, change := range map[string]func(*devzone.Config){user: func(*devzone.Config) {}, userID: byID} {
		t.Run("the zone knows her as "+identifier, func(t *testing.T) {
			w := newWorld(t, change)
			install := w.install()
			must(t, w.k8s.Create(w.ctx, install))
			w.reconcileResource(install)
			w.requests.take()
			if woken := w.lookFor(time.Minute); len(woken) > 0 || w.requests.count("") > 0 {
				t.Errorf("nobody waits; %v woken, asked %v", woken, w.requests.take())
			}
			hers := w.waiting("first", "second")
			his := w.binding("his")
			his.Spec.Subject.User = "bob@example.com"
			must(t, w.k8s.Create(w.ctx, his))
			w.reconcileBinding(his)
			w.expect(his, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
			w.requests.take()

			if woken := w.lookFor(5 * time.Minute); len(woken) > 0 || w.requests.count(exchanges) > 0 {
				t.Errorf("nobody consented; %v woken, %d exchanges", woken, w.requests.count(exchanges))
			}
			if n := w.requests.count(listGrants); n != 20 {
				t.Errorf("the grants were listed %d times in 5 minutes", n)
			}
			w.consentElsewhere(identifier)
			w.requests.take()
			if woken := w.lookFor(25 * time.Second); len(woken) != len(hers) {
				t.Errorf("woken are %v", woken)
			}
			for _, b := range hers {
				must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
				w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			}
			if n, m := w.requests.count(exchanges), w.requests.count(oneUser); n != len(hers) || m != 1 {
				t.Errorf("%d exchanges, %d users looked up", n, m)
			}
			must(t, w.k8s.Delete(w.ctx, his))
			w.reconcileBinding(his)
			w.requests.take()
			if woken := w.lookFor(time.Minute); len(woken) > 0 || w.requests.count("") > 0 {
				t.Errorf("nobody waits any more; %v woken, asked %v", woken, w.requests.take())
			}
		})
	}
}

// A grant that is not what the binding misses wakes it once.
func TestConsentThatDoesNotHelp(t *testing.T) {
	w := newWorld(t)
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	b := w.waiting("reports")[0]
	w.lookFor(time.Minute)
	w.consentElsewhere(user)
	defer w.withoutConsent()()
	w.requests.take()
	if woken := w.lookFor(9 * time.Minute); len(woken) != 1 || w.requests.count(exchanges) != 1 {
		t.Errorf("woken %v, %d exchanges", woken, w.requests.count(exchanges))
	}
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
	w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
}

// Consent that is noticed while an exchange is under way, which the zone refuses yet, is not forgotten over that.
func TestConsentDuringAnExchange(t *testing.T) {
	w := newWorld(t)
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	b := w.waiting("reports")[0]
	w.lookFor(time.Minute)
	w.consentElsewhere(user)
	w.clock.Step(11 * time.Minute)
	var woken []types.NamespacedName
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		woken = w.bindings.LookForConsent(w.ctx)
		writeJSON(rw, `{"error":"insufficient_authorization"}`)
	})
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
	if len(woken) != 1 {
		t.Fatalf("woken are %v", woken)
	}
	undo()
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
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
			w := newWorld(t)
			install := w.install()
			must(t, w.k8s.Create(w.ctx, install))
			w.reconcileResource(install)
			b := w.waiting("reports")[0]
			undo := w.requests.answer(listGrants, func(rw http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					rw.Header().Set("Retry-After", tt.header)
				}
				rw.WriteHeader(tt.status)
			})
			w.requests.take()
			w.lookFor(20 * time.Minute)
			if n := w.requests.count(listGrants); n < 1 || n > tt.most {
				t.Errorf("asked %d times in 20 minutes", n)
			}
			undo()
			w.consentElsewhere(user)
			w.lookFor(11 * time.Minute)
			must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			if n := strings.Count(w.logs.String(), "can't be listed"); n != 1 {
				t.Errorf("it was logged %d times", n)
			}
		})
	}
}

// While the zone asks for a pause, its grants are not listed either.
func TestNoLookWhileTheZonePauses(t *testing.T) {
	w := newWorld(t)
	install, throttled := w.install(), w.binding("throttled")
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	w.waiting("reports")
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "120")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	must(t, w.k8s.Create(w.ctx, throttled))
	w.reconcileBinding(throttled)
	undo()
	w.requests.take()
	w.lookFor(110 * time.Second)
	if n := w.requests.count(listGrants); n != 0 {
		t.Errorf("listed %d times", n)
	}
	w.lookFor(20 * time.Second)
	if n := w.requests.count(listGrants); n == 0 {
		t.Error("not listed when the pause was over")
	}
}

// The whole operator: consent elsewhere needs nobody to touch a binding.
func TestConsentElsewhereWithWatches(t *testing.T) {
	w := newWorld(t)
	undo := w.withoutConsent()
	install, b := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, b))
	w.startOperator(func(o *controllers.Options) { o.Clock, o.WatchEvery = w.clock, 50*time.Millisecond })
	w.eventually("the first look", func(context.Context) (bool, error) { return w.requests.count(listGrants) > 0, nil })
	undo()
	w.consentElsewhere(user)
	w.untilLooked()
	w.untilReady(b)
}
