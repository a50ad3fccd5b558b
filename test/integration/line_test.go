// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// crowd has others hold all places at the zone, until the returned function is called.
func (w *world) crowd() (leave func()) {
	w.t.Helper()
	inside := 0
	for w.bindings.Gates.Enter(w.zone.Issuer, fmt.Sprint("other-", inside), w.clock.Now(), false) == throttle.Go {
		inside++
	}
	return func() {
		for range inside {
			w.bindings.Gates.Leave(w.zone.Issuer, throttle.Answer{Answered: true})
		}
	}
}

// A binding that waits for its turn says nothing while its token is good for a while, and all that is so when it is not.
func TestTokenLapsesInLine(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	binding.Spec.Secret.OnExpiry = v1alpha1.RemoveExpired
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	life := refresh.Life{IssuedAt: binding.Status.IssuedAt.Time, ExpiresAt: binding.Status.ExpiresAt.Time}
	leave := w.crowd()
	w.requests.take()
	before := binding.ResourceVersion

	wait := w.reconcileBinding(binding).RequeueAfter
	if binding.ResourceVersion != before {
		t.Errorf("it says something while its token is good: %v", binding.Status.Conditions)
	}
	if wait <= 0 || wait > 20*time.Second {
		t.Errorf("it looks for itself in %s", wait)
	}
	w.clock.SetTime(refresh.FloorAt(life))
	wait = w.reconcileBinding(binding).RequeueAfter
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
	if wait < 10*time.Second {
		t.Errorf("it looks again in %s", wait)
	}
	w.clock.SetTime(life.ExpiresAt)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
	if data := w.output(binding).Data; len(data) != 0 {
		t.Error("the expired token is still there")
	}
	before = binding.ResourceVersion
	w.reconcileBinding(binding)
	if binding.ResourceVersion != before {
		t.Error("it writes its status again")
	}
	if n := w.requests.count(exchanges); n != 0 {
		t.Errorf("%d exchanges out of turn", n)
	}
	leave()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Tools that wait for status to follow the spec are not kept waiting by the line.
func TestStatusFollowsTheSpecInLine(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	defer w.crowd()()
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	if binding.Status.ObservedGeneration != binding.Generation || w.output(binding).Labels["example.com/team"] == "" {
		t.Errorf("status is of generation %d, the spec %d", binding.Status.ObservedGeneration, binding.Generation)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	before := binding.ResourceVersion
	w.reconcileBinding(binding)
	if binding.ResourceVersion != before {
		t.Error("it writes its status again")
	}
}

// A new binding waits in silence; one that failed before shows what for, and its backoff is as it was; a request is kept until
// it can be honoured.
func TestWaitingInLineIsNoAttempt(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	leave := w.crowd()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing)
	leave()

	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	failing := w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonZoneUnreachable)
	undo()
	leave = w.crowd()
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	if got := w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonZoneUnreachable); got != failing {
		t.Errorf("it says %q, and said %q", got, failing)
	}
	if binding.Status.LastRefreshRequest != "" {
		t.Error("the request is taken for honoured")
	}
	leave()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if binding.Status.LastRefreshRequest != "now" {
		t.Error("the request is not echoed")
	}
}

// A zone that asks for a pause of an hour is asked again when the token has two minutes left, once in half a minute.
func TestLongPauseAndATokenThatLapses(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	expires := binding.Status.ExpiresAt.Time
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	w.requests.take()
	var asked []time.Duration // before the expiry
	for w.clock.Now().Before(expires) {
		wait := w.reconcileBinding(binding).RequeueAfter
		for range w.requests.count(exchanges) {
			asked = append(asked, expires.Sub(w.clock.Now()))
		}
		w.requests.take()
		w.clock.Step(max(wait, time.Second))
	}
	if len(asked) < 3 || len(asked) > 6 || asked[1] > refresh.MountPropagation {
		t.Errorf("the zone was asked %v before the expiry", asked)
	}
	for i := 2; i < len(asked); i++ {
		if asked[i-1]-asked[i] < throttle.ProbeEvery {
			t.Errorf("the zone was asked %v before the expiry", asked)
		}
	}
	undo()
}
