// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io"
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
	return w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, `{"error":"insufficient_authorization","error_description":"User consent is required"}`)
	})
}

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
