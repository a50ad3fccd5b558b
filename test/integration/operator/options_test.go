// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// An expired token stays where it is, or goes, as the binding says; the Secret stays in both cases.
func TestOnExpiry(t *testing.T) {
	for _, want := range []v1alpha1.OnExpiry{"", v1alpha1.KeepExpired, v1alpha1.RemoveExpired} {
		t.Run("onExpiry "+string(want), func(t *testing.T) {
			w := world.New(t)
			install, b := w.Install(), w.Binding("reports")
			b.Spec.Secret.OnExpiry = want
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			must.Succeed(t, w.K8s.Create(w.Ctx, b))
			w.ReconcileResource(install)
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			undo := w.Requests.Answer("zone POST /oauth/2/token", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
			w.Due(b)
			w.ReconcileBinding(b)
			if data := w.Output(b).Data; len(data["token"]) == 0 {
				t.Error("a token that is good still is gone")
			}
			w.Clock.SetTime(b.Status.ExpiresAt.Time)
			w.ReconcileBinding(b)
			if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReady) {
				t.Error("it is ready without a token that works")
			}
			removed := want == v1alpha1.RemoveExpired
			s := w.Output(b)
			if got := len(s.Data) == 0; got != removed {
				t.Errorf("the Secret has %d keys", len(s.Data))
			}
			w.Clock.Step(time.Minute)
			w.ReconcileBinding(b)
			if again := w.Output(b); again.ResourceVersion != s.ResourceVersion {
				t.Error("the Secret was written again")
			}
			undo()
			w.Clock.Step(2 * time.Minute)
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Pages(w.Output(b))
		})
	}
}

// While a binding is suspended nothing is taken out of its Secret, not even an expired token. That goes when the suspension ends,
// unless there is a new one.
func TestOnExpiryWhileSuspended(t *testing.T) {
	for name, down := range map[string]bool{"then the zone is down": true, "then there is a new token": false} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			_, b := w.Ready()
			b.Spec.Suspend, b.Spec.Secret.OnExpiry = new(true), v1alpha1.RemoveExpired
			must.Succeed(t, w.K8s.Update(w.Ctx, b))
			before := w.Output(b)
			w.Clock.SetTime(b.Status.ExpiresAt.Add(time.Minute))
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
			if s := w.Output(b); s.ResourceVersion != before.ResourceVersion {
				t.Errorf("the Secret was written to, and has %v", world.Keys(s))
			}
			if down {
				w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
			}
			b.Spec.Suspend = nil
			must.Succeed(t, w.K8s.Update(w.Ctx, b))
			w.ReconcileBinding(b)
			if down {
				if s := w.Output(b); len(s.Data) > 0 {
					t.Errorf("the Secret has %v", world.Keys(s))
				}
				return
			}
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Pages(w.Output(b))
		})
	}
}

// Of two bindings that name one Secret the older has it; when it goes, the other takes over. One that has the Secret keeps it.
func TestOneSecretOfTwoBindings(t *testing.T) {
	w := world.New(t)
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	older, younger := w.Binding("a-older"), w.Binding("b-younger")
	younger.Spec.Secret = older.Spec.Secret
	must.Succeed(t, w.K8s.Create(w.Ctx, older))
	must.Succeed(t, w.K8s.Create(w.Ctx, younger))
	w.Requests.Take()
	w.ReconcileBinding(younger)
	message := w.Expect(younger, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "ConfluenceTokenBinding a-older") {
		t.Errorf("the message is %q", message)
	}
	if n := w.Requests.Count("zone POST /oauth/2/token"); n != 0 {
		t.Errorf("it exchanged %d times", n)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, older))
	w.ReconcileBinding(younger)
	w.Expect(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	older = w.Binding("a-older")
	older.Spec.Secret = younger.Spec.Secret
	must.Succeed(t, w.K8s.Create(w.Ctx, older))
	w.ReconcileBinding(older)
	w.Expect(older, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	w.ReconcileBinding(younger)
	w.Expect(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A token with fewer scopes is refused, unless the binding accepts it.
func TestReducedScopes(t *testing.T) {
	w := world.New(t)
	install, b := w.Install(), w.Binding("reports")
	b.Spec.ReducedScopes = v1alpha1.AcceptReducedScopes
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	w.ReconcileResource(install)
	w.Inject(world.Exchanges, world.ReplyJSON(http.StatusOK, `{"access_token":"reduced","expires_in":3600,"scope":"read:me"}`))
	w.Inject("accessible-resources", world.ReplyJSON(http.StatusOK, `[{"id":"1","url":"`+world.Site+`","scopes":["search:confluence"]}]`))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := b.Status.Scopes; len(got) != 1 || got[0] != "read:me" {
		t.Errorf("status lists %v", got)
	}
}

// A refresh that brings fewer scopes changes nothing while the token from before is good: Ready says so, and TokenIssued what is
// to be done. It falls when a mounted file could not follow any more.
func TestReducedScopesAtARefresh(t *testing.T) {
	w := world.New(t)
	_, b := w.Ready()
	before := string(w.Output(b).Data["token"])
	w.Clock.SetTime(b.Status.RefreshAt.Time)
	undo := w.Inject(world.Exchanges, world.ReplyJSON(http.StatusOK, `{"access_token":"reduced","expires_in":3600,"scope":"read:me"}`))
	w.ReconcileBinding(b)
	message := w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, v1alpha1.ReasonScopeReduced) || !strings.Contains(message, "read:confluence-content.all") {
		t.Errorf("the remedy is %q", message)
	}
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(b, v1alpha1.ConditionStalled)
	if string(w.Output(b).Data["token"]) != before {
		t.Error("the good token is gone")
	}

	w.Clock.SetTime(refresh.FloorAt(refresh.Life{IssuedAt: b.Status.IssuedAt.Time, ExpiresAt: b.Status.ExpiresAt.Time}))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
	w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonScopeReduced)
	w.Clock.SetTime(b.Status.ExpiresAt.Time)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonScopeReduced)
	if string(w.Output(b).Data["token"]) != before {
		t.Error("the token with fewer scopes is in the Secret")
	}
	undo()
	w.Clock.Step(world.Slowest)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
