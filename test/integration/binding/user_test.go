// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// The user's e-mail address is looked up once, whatever restarts; then the zone is told her identifier.
func TestUserIsLookedUpOnce(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	_, binding := w.Ready()
	if n := w.Requests.Count(world.Lookup); n != 1 {
		t.Errorf("looked up %d times", n)
	}
	if binding.Status.User != world.UserID {
		t.Errorf("remembered %q", binding.Status.User)
	}
	w.Pages(w.Output(binding))
	for range 3 {
		w.Connect() // a restart remembers nothing but what the Secret does
		w.Requests.Take()
		w.Clock.SetTime(binding.Status.RefreshAt.Time)
		w.ReconcileBinding(binding)
		w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if n := w.Requests.Count(world.UsersPath); n != 0 {
			t.Errorf("a rotation asked the management API: %v", w.Requests.Take())
		}
	}
}

// Bindings of one user that are made together share the look-up, and an identifier is never looked up.
func TestUserLookUpsAreShared(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	_, _ = w.Ready()
	byID := w.Binding("by-id")
	byID.Spec.Subject.User = world.UserID
	w.Requests.Take()
	for _, b := range []*v1alpha1.ConfluenceTokenBinding{w.Binding("second"), w.Binding("third"), byID} {
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
		w.ReconcileBinding(b)
		w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	if n := w.Requests.Count(world.Lookup); n != 0 {
		t.Errorf("looked up %d more times", n)
	}
}

// What can go wrong with a look-up, on the first token.
func TestUserLookUpFaults(t *testing.T) {
	list := func(users string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			world.WriteJSON(rw, `{"items":[`+users+`],"pagination":{"after_cursor":null,"before_cursor":null,"total_count":0}}`)
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
			world.User, list(alice("u1", "true") + "," + alice("u2", "true")), v1alpha1.ReasonUserNotIdentified, []string{"2 users", world.User, "spec.subject.user"}, true,
		},
		"it is not verified": {
			world.User, list(alice("u1", "false")), v1alpha1.ReasonUserNotIdentified, []string{"has not verified it", world.User}, true,
		},
		"the service account may not look": {
			world.User, status(http.StatusForbidden), v1alpha1.ReasonRequestRejected, []string{"could not be looked up by the e-mail address"}, true,
		},
		"the management API is down": {
			world.User, status(http.StatusInternalServerError), v1alpha1.ReasonZoneUnreachable, []string{"listing users", "retries"}, false,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.IdentifiedByID)
			install, binding := w.Install(), w.Binding("reports")
			binding.Spec.Subject.User = tc.user
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(install)
			undo := w.Requests.Answer(world.Lookup, tc.answer)
			w.ReconcileBinding(binding)
			message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, tc.reason)
			for _, part := range tc.says {
				if !strings.Contains(message, part) {
					t.Errorf("the message does not say %q: %s", part, message)
				}
			}
			if tc.stalled {
				w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
			}
			undo()
			w.Clock.Step(world.Slowest)
			if binding.Spec.Subject.User == world.User {
				w.ReconcileBinding(binding)
				w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			}
		})
	}
}

// Whom the operator acts for is not for those to choose who may write Secrets; and what they note there beside the token is no
// word of the operator's.
func TestNotesOfOthersAreIgnored(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	_, binding := w.Ready()
	secret := w.Output(binding)
	for key, note := range map[string]string{
		"keycard.cloud/user": "usr-bob", v1alpha1.VerdictAnnotation: v1alpha1.ReasonTokenRefused,
		v1alpha1.RefreshRequestAnnotation: strings.Repeat("x", 100), v1alpha1.LifetimeNoteAnnotation: "odd",
	} {
		secret.Annotations[key] = note
	}
	must.Succeed(t, w.K8s.Update(w.Ctx, secret))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Connect()
	w.Requests.Take()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if binding.Status.User != world.UserID || binding.Status.LastRefreshRequest != "" {
		t.Errorf("status says %q %q", binding.Status.User, binding.Status.LastRefreshRequest)
	}
	w.Pages(w.Output(binding)) // those of Alice
}

// Another user, and another zone's, is looked up anew.
func TestAnotherUserIsLookedUp(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	_, binding := w.Ready()
	binding.Spec.Subject.User = "nobody@example.com"
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	leave := w.Crowd()
	w.ReconcileBinding(binding)
	if binding.Status.User != "" {
		t.Errorf("while it waits in line, status says %q", binding.Status.User)
	}
	leave()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired)
	if binding.Status.User != "" {
		t.Errorf("status says %q", binding.Status.User)
	}
}

// After a failure that passes, the next token waits neither for the management API nor for the list of sites: both are known.
func TestOutagesBesideTheZone(t *testing.T) {
	broken := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }
	for _, what := range []string{world.Lookup, "accessible-resources"} {
		t.Run(what, func(t *testing.T) {
			w := world.New(t, world.IdentifiedByID)
			_, binding := w.Ready()
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			undo := w.Requests.Answer(world.Exchanges, broken)
			before := string(w.Output(binding).Data["token"])
			wait := w.ReconcileBinding(binding).RequeueAfter
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			undo()
			defer w.Requests.Answer(what, broken)()
			w.Requests.Take()
			w.Clock.Step(wait)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if string(w.Output(binding).Data["token"]) == before {
				t.Error("there is no new token")
			}
			if n := w.Requests.Count(what); n != 0 {
				t.Errorf("it was asked for %d times", n)
			}
		})
	}
}

// A refusal is looked into, and one that passes is no worse for a management API or an Atlassian that can't be asked.
func TestRefusalAndAnOutageBeside(t *testing.T) {
	broken := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }
	w := world.New(t, world.IdentifiedByID)
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	undo := w.Refused("access_denied", "Access denied by policy.")
	wait := w.ReconcileBinding(binding).RequeueAfter
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	undo()
	defer w.Requests.Answer(world.Lookup, broken)()
	defer w.Requests.Answer("accessible-resources", broken)()
	w.Requests.Take()
	w.Clock.Step(wait)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if w.Requests.Count(world.Lookup) == 0 || w.Requests.Count("accessible-resources") == 0 {
		t.Error("it was not looked into")
	}
}

// A management API that can't be asked stops nobody whom the zone knows by the address.
func TestLookUpIsNotNeeded(t *testing.T) {
	w := world.New(t)
	install, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	defer w.Requests.Answer(world.Lookup, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
