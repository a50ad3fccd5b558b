// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// The operator keeps a person's session: each use of the refresh token gives another, which is in the Secret before
// anything else is done.
func TestSession(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	w.Pages(w.Output(b))
	first := string(w.SessionSecret().Data["refresh_token"])

	w.Requests.Take()
	w.ReconcileBinding(b)
	if seen := w.Requests.Take(); len(seen) != 0 {
		t.Errorf("its own write made the operator ask %v", seen)
	}
	w.Connect() // a restart costs nothing either
	w.ReconcileBinding(b)
	if seen := w.Requests.Take(); len(seen) != 0 {
		t.Errorf("a restart made the operator ask %v", seen)
	}

	w.Due(b)
	issued := b.Status.IssuedAt
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if b.Status.IssuedAt.Equal(issued) {
		t.Error("the token is not refreshed")
	}
	if string(w.SessionSecret().Data["refresh_token"]) == first {
		t.Error("the used refresh token is still in the Secret")
	}

	// Another session is taken up at once.
	s := w.SessionSecret()
	s.Data["refresh_token"] = []byte(w.SignIn().RefreshToken)
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	w.Requests.Take()
	w.ReconcileBinding(b)
	if w.Requests.Count("zone POST /oauth/2/token") != 2 {
		t.Errorf("another session made the operator ask %v", w.Requests.Take())
	}

	// One that is over needs the person, and recovers with a new one.
	s = w.SessionSecret()
	s.Data["refresh_token"] = []byte(first)
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	w.ReconcileBinding(b)
	w.Due(b)
	w.Clock.Step(time.Hour)
	w.ReconcileBinding(b)
	message := w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSessionEnded)
	if !strings.Contains(message, "key refresh_token of Secret "+w.NS+"/alice-session") || strings.Contains(message, first) {
		t.Errorf("the remedy is %q", message)
	}
	s = w.SessionSecret()
	s.Data["refresh_token"] = []byte(w.SignIn().RefreshToken)
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if strings.Contains(w.Logs.String(), string(w.SessionSecret().Data["refresh_token"])) {
		t.Error("a refresh token is in the log")
	}
}

// A process that is killed at any of its requests, before it is served or before the answer arrives, leaves a session that
// its successor goes on with: at the first token of a binding and at a refresh. Only between the zone's answer and the write of
// the Secret nothing can be saved, and then the condition says what to do.
func TestSessionSurvivesKills(t *testing.T) {
	for name, next := range map[string]func(*world.World, *v1alpha1.ConfluenceTokenBinding, int) *v1alpha1.ConfluenceTokenBinding{
		"a refresh": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding, _ int) *v1alpha1.ConfluenceTokenBinding {
			w.Due(b)
			return b
		},
		"the first token": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding, n int) *v1alpha1.ConfluenceTokenBinding {
			first := w.Binding(fmt.Sprintf("first-%d", n))
			first.Spec.Subject = b.Spec.Subject
			must.Succeed(w.T, w.K8s.Create(w.Ctx, first))
			return first
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			b := w.Session()
			lives := 0
			lostAt := killEverywhere(w, func() *v1alpha1.ConfluenceTokenBinding {
				lives++
				return next(w, b, lives)
			})
			const patch = "cluster PATCH /api/v1/namespaces/NS/secrets/alice-session?fieldManager=keycard-operator-session"
			want := map[string]int{"zone POST /oauth/2/token served=true": 1, patch + " served=false": 1}
			if !maps.Equal(lostAt, want) {
				t.Errorf("the session was lost by kills at %v", lostAt)
			}
			t.Logf("%d lives", lives)
		})
	}
}

// killEverywhere kills one process after the other, each a request later than the one before, while it is at the binding that
// next gives; and tells by which kills the session was lost.
func killEverywhere(w *world.World, next func() *v1alpha1.ConfluenceTokenBinding) (lostAt map[string]int) {
	w.T.Helper()
	var mu sync.Mutex
	lostAt = map[string]int{}
	steps := 0
	for at := 1; at == steps+1; at++ {
		for _, served := range []bool{false, true} {
			var seen []string
			die := func(what string) (dropped, lost bool) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, what)
				return len(seen) > at || len(seen) == at && !served, len(seen) == at
			}
			w.Connect()
			b := next()
			w.Requests.Dying, w.Writes.Dying = die, die
			_, _ = w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
			w.Requests.Dying, w.Writes.Dying = nil, nil
			if len(seen) < at {
				break // the life had fewer requests
			}
			steps = at
			w.Connect()
			w.ReconcileBinding(b)
			if meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued).Reason != v1alpha1.ReasonIssued {
				lostAt[fmt.Sprintf("%s served=%v", strings.ReplaceAll(seen[at-1], w.NS, "NS"), served)]++
				s := w.SessionSecret()
				s.Data["refresh_token"] = []byte(w.SignIn().RefreshToken)
				must.Succeed(w.T, w.K8s.Update(w.Ctx, s))
				w.ReconcileBinding(b)
			}
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		}
	}
	return lostAt
}

// Two bindings share a session: they use it in turns, so that neither spends the refresh token of the other, and the session
// outlives the one that goes.
func TestSessionOfTwoBindings(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	other := w.Binding("other")
	other.Spec.Subject = b.Spec.Subject
	must.Succeed(t, w.K8s.Create(w.Ctx, other))
	w.ReconcileBinding(other)
	for range 3 {
		w.Due(b)
		if b.Status.RefreshAt.Before(other.Status.RefreshAt) {
			w.Due(other)
		}
		w.Requests.Take()
		var both sync.WaitGroup
		for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
			both.Go(func() {
				_, _ = w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
			})
		}
		both.Wait()
		for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		}
		// Two exchanges, and one refresh whose access token serves both.
		if n := w.Requests.Count("zone POST /oauth/2/token"); n < 2 || n > 3 {
			t.Errorf("the zone was asked %d times", n)
		}
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, other))
	w.ReconcileBinding(other)
	w.Due(b)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	// The operator's write for one is no reason for the other to do anything.
	again := w.Binding("again")
	again.Spec.Subject = b.Spec.Subject
	must.Succeed(t, w.K8s.Create(w.Ctx, again))
	w.ReconcileBinding(again)
	w.Requests.Take()
	for range 2 {
		w.ReconcileBinding(b)
		w.ReconcileBinding(again)
	}
	if seen := w.Requests.Take(); len(seen) != 0 {
		t.Errorf("the bindings' own writes made the operator ask %v", seen)
	}
}

// A refresh token that could not be replaced is not spent.
func TestSessionIsNotSpentInVain(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	s := w.SessionSecret()
	s.Immutable = new(true)
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	w.Connect() // the session's token, which is remembered, would do
	w.Due(b)
	w.Requests.Take()
	w.ReconcileBinding(b)
	if n := w.Requests.Count("zone POST /oauth/2/token"); n != 0 {
		t.Errorf("the zone was asked %d times", n)
	}
	message := w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "Create it anew, without immutable") {
		t.Errorf("the remedy is %q", message)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, s))
	s.ObjectMeta = metav1.ObjectMeta{Namespace: w.NS, Name: "alice-session"}
	s.Immutable = nil
	must.Succeed(t, client.IgnoreAlreadyExists(w.K8s.Create(w.Ctx, s)))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}
