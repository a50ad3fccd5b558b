// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// An expired token stays where it is, or goes, as the binding says; the Secret stays in both cases.
func TestOnExpiry(t *testing.T) {
	for _, want := range []v1alpha1.OnExpiry{"", v1alpha1.KeepExpired, v1alpha1.RemoveExpired} {
		t.Run("onExpiry "+string(want), func(t *testing.T) {
			w := newWorld(t)
			install, b := w.install(), w.binding("reports")
			b.Spec.Secret.OnExpiry = want
			must(t, w.k8s.Create(w.ctx, install))
			must(t, w.k8s.Create(w.ctx, b))
			w.reconcileResource(install)
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			undo := w.requests.answer("zone POST /oauth/2/token", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
			w.due(b)
			w.reconcileBinding(b)
			if data := w.output(b).Data; len(data["token"]) == 0 {
				t.Error("a token that is good still is gone")
			}
			w.clock.SetTime(b.Status.ExpiresAt.Time)
			w.reconcileBinding(b)
			if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReady) {
				t.Error("it is ready without a token that works")
			}
			removed := want == v1alpha1.RemoveExpired
			s := w.output(b)
			if got := len(s.Data) == 0; got != removed {
				t.Errorf("the Secret has %d keys", len(s.Data))
			}
			w.clock.Step(time.Minute)
			w.reconcileBinding(b)
			if again := w.output(b); again.ResourceVersion != s.ResourceVersion {
				t.Error("the Secret was written again")
			}
			undo()
			w.clock.Step(2 * time.Minute)
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.pages(w.output(b))
		})
	}
}

// While a binding is suspended nothing is taken out of its Secret, not even an expired token. That goes when the suspension ends,
// unless there is a new one.
func TestOnExpiryWhileSuspended(t *testing.T) {
	for name, down := range map[string]bool{"then the zone is down": true, "then there is a new token": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, b := w.ready()
			b.Spec.Suspend, b.Spec.Secret.OnExpiry = new(true), v1alpha1.RemoveExpired
			must(t, w.k8s.Update(w.ctx, b))
			before := w.output(b)
			w.clock.SetTime(b.Status.ExpiresAt.Add(time.Minute))
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
			if s := w.output(b); s.ResourceVersion != before.ResourceVersion {
				t.Errorf("the Secret was written to, and has %v", keys(s))
			}
			if down {
				w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
			}
			b.Spec.Suspend = nil
			must(t, w.k8s.Update(w.ctx, b))
			w.reconcileBinding(b)
			if down {
				if s := w.output(b); len(s.Data) > 0 {
					t.Errorf("the Secret has %v", keys(s))
				}
				return
			}
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.pages(w.output(b))
		})
	}
}

// Of two bindings that name one Secret the older has it; when it goes, the other takes over. One that has the Secret keeps it.
func TestOneSecretOfTwoBindings(t *testing.T) {
	w := newWorld(t)
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	older, younger := w.binding("a-older"), w.binding("b-younger")
	younger.Spec.Secret = older.Spec.Secret
	must(t, w.k8s.Create(w.ctx, older))
	must(t, w.k8s.Create(w.ctx, younger))
	w.requests.take()
	w.reconcileBinding(younger)
	message := w.expect(younger, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "ConfluenceTokenBinding a-older") {
		t.Errorf("the message is %q", message)
	}
	if n := w.requests.count("zone POST /oauth/2/token"); n != 0 {
		t.Errorf("it exchanged %d times", n)
	}
	must(t, w.k8s.Delete(w.ctx, older))
	w.reconcileBinding(younger)
	w.expect(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	older = w.binding("a-older")
	older.Spec.Secret = younger.Spec.Secret
	must(t, w.k8s.Create(w.ctx, older))
	w.reconcileBinding(older)
	w.expect(older, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	w.reconcileBinding(younger)
	w.expect(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A token with fewer scopes is refused, unless the binding accepts it.
func TestReducedScopes(t *testing.T) {
	w := newWorld(t)
	install, b := w.install(), w.binding("reports")
	b.Spec.ReducedScopes = v1alpha1.AcceptReducedScopes
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, b))
	w.reconcileResource(install)
	w.inject(exchanges, replyJSON(http.StatusOK, `{"access_token":"reduced","expires_in":3600,"scope":"read:me"}`))
	w.inject("accessible-resources", replyJSON(http.StatusOK, `[{"id":"1","url":"`+site+`","scopes":["search:confluence"]}]`))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := b.Status.Scopes; len(got) != 1 || got[0] != "read:me" {
		t.Errorf("status lists %v", got)
	}
}

// A refresh that brings fewer scopes changes nothing while the token from before is good: Ready says so, and TokenIssued what is
// to be done. It falls when a mounted file could not follow any more.
func TestReducedScopesAtARefresh(t *testing.T) {
	w := newWorld(t)
	_, b := w.ready()
	before := string(w.output(b).Data["token"])
	w.clock.SetTime(b.Status.RefreshAt.Time)
	undo := w.inject(exchanges, replyJSON(http.StatusOK, `{"access_token":"reduced","expires_in":3600,"scope":"read:me"}`))
	w.reconcileBinding(b)
	message := w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, v1alpha1.ReasonScopeReduced) || !strings.Contains(message, "read:confluence-content.all") {
		t.Errorf("the remedy is %q", message)
	}
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.absent(b, v1alpha1.ConditionStalled)
	if string(w.output(b).Data["token"]) != before {
		t.Error("the good token is gone")
	}

	w.clock.SetTime(refresh.FloorAt(refresh.Life{IssuedAt: b.Status.IssuedAt.Time, ExpiresAt: b.Status.ExpiresAt.Time}))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
	w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonScopeReduced)
	w.clock.SetTime(b.Status.ExpiresAt.Time)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonScopeReduced)
	if string(w.output(b).Data["token"]) != before {
		t.Error("the token with fewer scopes is in the Secret")
	}
	undo()
	w.clock.Step(slowest)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
