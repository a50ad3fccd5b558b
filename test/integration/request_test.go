// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// ask puts the annotation on a binding that requests a new token.
func (w *world) ask(b *v1alpha1.ConfluenceTokenBinding, value string) {
	w.t.Helper()
	before := b.DeepCopy()
	b.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: value}
	must(w.t, w.k8s.Patch(w.ctx, b, client.MergeFrom(before)))
}

// A request for a new token is honoured once, after a restart too, and echoed in status.
func TestRefreshRequest(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	before := string(w.output(binding).Data["token"])
	w.clock.Step(time.Minute)
	w.requests.take()
	w.ask(binding, "2026-03-01T12:00:00Z")
	for range 3 {
		w.reconcileBinding(binding)
		w.connect()
	}
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if after := string(w.output(binding).Data["token"]); after == before || binding.Status.LastRefreshRequest != "2026-03-01T12:00:00Z" {
		t.Errorf("the token is another: %v, status echoes %q", after != before, binding.Status.LastRefreshRequest)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	w.requests.take()
	w.ask(binding, strings.Repeat("é", 100))
	w.reconcileBinding(binding)
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 || len(binding.Status.LastRefreshRequest) != 64 {
		t.Errorf("%d exchanges for a long value, echoed %q", n, binding.Status.LastRefreshRequest)
	}
}

// A request cuts a pause after a failure short, once.
func TestRefreshRequestInBackoff(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.requests.take()
	for range 5 {
		w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	}
	tried := w.requests.count(exchanges)
	w.reconcileBinding(binding)
	w.requests.take()
	w.reconcileBinding(binding) // still waits
	w.ask(binding, "now")
	w.reconcileBinding(binding)
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 || tried == 0 {
		t.Errorf("%d exchanges at the request, %d before", n, tried)
	}
	undo()
	w.ask(binding, "now, please")
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// The whole operator sees the annotation, and no other.
func TestRefreshRequestIsWatched(t *testing.T) {
	w := newWorld(t, realTime)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.startOperator()
	w.untilReady(binding)
	w.ask(binding, "watched")
	w.eventually("the request is honoured", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		return binding.Status.LastRefreshRequest == "watched", err
	})
}
