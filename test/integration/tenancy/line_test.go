// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tenancy

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A binding that waits for its turn says nothing while its token is good for a while, and all that is so when it is not.
func TestTokenLapsesInLine(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	binding.Spec.Secret.OnExpiry = v1alpha1.RemoveExpired
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	life := refresh.Life{IssuedAt: binding.Status.IssuedAt.Time, ExpiresAt: binding.Status.ExpiresAt.Time}
	leave := w.Crowd()
	w.Requests.Take()
	before := binding.ResourceVersion

	wait := w.ReconcileBinding(binding).RequeueAfter
	if binding.ResourceVersion != before {
		t.Errorf("it says something while its token is good: %v", binding.Status.Conditions)
	}
	if wait <= 0 || wait > 20*time.Second {
		t.Errorf("it looks for itself in %s", wait)
	}
	w.Clock.SetTime(refresh.FloorAt(life))
	wait = w.ReconcileBinding(binding).RequeueAfter
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
	if wait < 10*time.Second {
		t.Errorf("it looks again in %s", wait)
	}
	w.Clock.SetTime(life.ExpiresAt)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
	if data := w.Output(binding).Data; len(data) != 0 {
		t.Error("the expired token is still there")
	}
	before = binding.ResourceVersion
	w.ReconcileBinding(binding)
	if binding.ResourceVersion != before {
		t.Error("it writes its status again")
	}
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("%d exchanges out of turn", n)
	}
	leave()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Tools that wait for status to follow the spec are not kept waiting by the line.
func TestStatusFollowsTheSpecInLine(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	defer w.Crowd()()
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	if binding.Status.ObservedGeneration != binding.Generation || w.Output(binding).Labels["example.com/team"] == "" {
		t.Errorf("status is of generation %d, the spec %d", binding.Status.ObservedGeneration, binding.Generation)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	before := binding.ResourceVersion
	w.ReconcileBinding(binding)
	if binding.ResourceVersion != before {
		t.Error("it writes its status again")
	}
}

// A new binding waits in silence; one that failed before shows what for, and its backoff is as it was; a request is kept until
// it can be honoured.
func TestWaitingInLineIsNoAttempt(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	leave := w.Crowd()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing)
	leave()

	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	failing := w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonZoneUnreachable)
	undo()
	leave = w.Crowd()
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	if got := w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonZoneUnreachable); got != failing {
		t.Errorf("it says %q, and said %q", got, failing)
	}
	if binding.Status.LastRefreshRequest != "" {
		t.Error("the request is taken for honoured")
	}
	leave()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if binding.Status.LastRefreshRequest != "now" {
		t.Error("the request is not echoed")
	}
}

// A zone that asks for a pause of an hour is asked again when the token has two minutes left, once in half a minute.
func TestLongPauseAndATokenThatLapses(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	expires := binding.Status.ExpiresAt.Time
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	w.Requests.Take()
	var asked []time.Duration // before the expiry
	for w.Clock.Now().Before(expires) {
		wait := w.ReconcileBinding(binding).RequeueAfter
		for range w.Requests.Count(world.Exchanges) {
			asked = append(asked, expires.Sub(w.Clock.Now()))
		}
		w.Requests.Take()
		w.Clock.Step(max(wait, time.Second))
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
