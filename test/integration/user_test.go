// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

const (
	userID    = "usr-7c1f" // what the zone calls her
	lookup    = "api GET /zones/zn-demo/users"
	usersPath = "api GET /zones/"
)

// identifiedByID has the zone know Alice by an identifier of its own.
func identifiedByID(c *devzone.Config) {
	c.Seed = seed.Default()
	c.Seed.Users[0].Identifier = userID
	c.Seed.Applications[0].MayImpersonate = []string{userID}
}

// The user's e-mail address is looked up once, whatever restarts; then the zone is told her identifier.
func TestUserIsLookedUpOnce(t *testing.T) {
	w := newWorld(t, identifiedByID)
	_, binding := w.ready()
	if n := w.requests.count(lookup); n != 1 {
		t.Errorf("looked up %d times", n)
	}
	if binding.Status.User != userID {
		t.Errorf("remembered %q", binding.Status.User)
	}
	w.pages(w.output(binding))
	for range 3 {
		w.connect() // a restart remembers nothing but what the Secret does
		w.requests.take()
		w.clock.SetTime(binding.Status.RefreshAt.Time)
		w.reconcileBinding(binding)
		w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if n := w.requests.count(usersPath); n != 0 {
			t.Errorf("a rotation asked the management API: %v", w.requests.take())
		}
	}
}

// Bindings of one user that are made together share the look-up, and an identifier is never looked up.
func TestUserLookUpsAreShared(t *testing.T) {
	w := newWorld(t, identifiedByID)
	_, _ = w.ready()
	byID := w.binding("by-id")
	byID.Spec.Subject.User = userID
	w.requests.take()
	for _, b := range []*v1alpha1.ConfluenceTokenBinding{w.binding("second"), w.binding("third"), byID} {
		must(t, w.k8s.Create(w.ctx, b))
		w.reconcileBinding(b)
		w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	if n := w.requests.count(lookup); n != 0 {
		t.Errorf("looked up %d more times", n)
	}
}

// What can go wrong with a look-up, on the first token.
func TestUserLookUpFaults(t *testing.T) {
	list := func(users string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			writeJSON(rw, `{"items":[`+users+`],"pagination":{"after_cursor":null,"before_cursor":null,"total_count":0}}`)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) }
	}
	alice := func(id, verified string) string {
		return `{"id":"` + id + `","identifier":"` + id + `","email":"Alice@Example.com","email_verified":` + verified + `}`
	}
	tests := map[string]struct {
		user    string
		answer  http.HandlerFunc
		reason  string
		says    []string
		stalled bool
	}{
		"nobody has the address": {
			"nobody@example.com", list(""), v1alpha1.ReasonConsentRequired, []string{"nobody@example.com", "sign in to the zone and consent"}, true,
		},
		"two have it": {
			user, list(alice("u1", "true") + "," + alice("u2", "true")), v1alpha1.ReasonUserNotIdentified, []string{"2 users", user, "spec.subject.user"}, true,
		},
		"it is not verified": {
			user, list(alice("u1", "false")), v1alpha1.ReasonUserNotIdentified, []string{"has not verified it", user}, true,
		},
		"the service account may not look": {
			user, status(http.StatusForbidden), v1alpha1.ReasonRequestRejected, []string{"could not be looked up by the e-mail address"}, true,
		},
		"the management API is down": {
			user, status(http.StatusInternalServerError), v1alpha1.ReasonZoneUnreachable, []string{"listing users", "retried"}, false,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, identifiedByID)
			install, binding := w.install(), w.binding("reports")
			binding.Spec.Subject.User = tc.user
			must(t, w.k8s.Create(w.ctx, install))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(install)
			undo := w.requests.answer(lookup, tc.answer)
			w.reconcileBinding(binding)
			message := w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, tc.reason)
			for _, part := range tc.says {
				if !strings.Contains(message, part) {
					t.Errorf("the message does not say %q: %s", part, message)
				}
			}
			if tc.stalled {
				w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
			}
			undo()
			w.clock.Step(slowest)
			if binding.Spec.Subject.User == user {
				w.reconcileBinding(binding)
				w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			}
		})
	}
}

// Whom the operator acts for is not for those to choose who may write Secrets; and what they note there beside the token is no
// word of the operator's.
func TestNotesOfOthersAreIgnored(t *testing.T) {
	w := newWorld(t, identifiedByID)
	_, binding := w.ready()
	secret := w.output(binding)
	for key, note := range map[string]string{
		"keycard.cloud/user": "usr-bob", v1alpha1.VerdictAnnotation: v1alpha1.ReasonTokenRefused,
		v1alpha1.RefreshRequestAnnotation: strings.Repeat("x", 100), v1alpha1.LifetimeNoteAnnotation: "odd",
	} {
		secret.Annotations[key] = note
	}
	must(t, w.k8s.Update(w.ctx, secret))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.connect()
	w.requests.take()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if binding.Status.User != userID || binding.Status.LastRefreshRequest != "" {
		t.Errorf("status says %q %q", binding.Status.User, binding.Status.LastRefreshRequest)
	}
	w.pages(w.output(binding)) // those of Alice
}

// Another user, and another zone's, is looked up anew.
func TestAnotherUserIsLookedUp(t *testing.T) {
	w := newWorld(t, identifiedByID)
	_, binding := w.ready()
	binding.Spec.Subject.User = "nobody@example.com"
	must(t, w.k8s.Update(w.ctx, binding))
	leave := w.crowd()
	w.reconcileBinding(binding)
	if binding.Status.User != "" {
		t.Errorf("while it waits in line, status says %q", binding.Status.User)
	}
	leave()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired)
	if binding.Status.User != "" {
		t.Errorf("status says %q", binding.Status.User)
	}
}

// After a failure that passes, the next token waits neither for the management API nor for the list of sites: both are known.
func TestOutagesBesideTheZone(t *testing.T) {
	broken := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }
	for _, what := range []string{lookup, "accessible-resources"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, identifiedByID)
			_, binding := w.ready()
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			undo := w.requests.answer(exchanges, broken)
			before := string(w.output(binding).Data["token"])
			wait := w.reconcileBinding(binding).RequeueAfter
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			undo()
			defer w.requests.answer(what, broken)()
			w.requests.take()
			w.clock.Step(wait)
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if string(w.output(binding).Data["token"]) == before {
				t.Error("there is no new token")
			}
			if n := w.requests.count(what); n != 0 {
				t.Errorf("it was asked for %d times", n)
			}
		})
	}
}

// A refusal is looked into, and one that passes is no worse for a management API or an Atlassian that can't be asked.
func TestRefusalAndAnOutageBeside(t *testing.T) {
	broken := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }
	w := newWorld(t, identifiedByID)
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	undo := w.refused("access_denied", "Access denied by policy.")
	wait := w.reconcileBinding(binding).RequeueAfter
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	undo()
	defer w.requests.answer(lookup, broken)()
	defer w.requests.answer("accessible-resources", broken)()
	w.requests.take()
	w.clock.Step(wait)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if w.requests.count(lookup) == 0 || w.requests.count("accessible-resources") == 0 {
		t.Error("it was not looked into")
	}
}

// A management API that can't be asked stops nobody whom the zone knows by the address.
func TestLookUpIsNotNeeded(t *testing.T) {
	w := newWorld(t)
	install, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	defer w.requests.answer(lookup, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
