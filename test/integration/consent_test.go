// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
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
