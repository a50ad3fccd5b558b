// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// stoppedAt reconciles a binding in a process that is told to stop while Atlassian answers a request.
func (w *world) stoppedAt(b *v1alpha1.ConfluenceTokenBinding, request string) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	w.requests.afterwards(func(what string) {
		if strings.Contains(what, request) {
			stop()
		}
	})
	_, _ = w.bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	w.requests.afterwards(nil)
	if ctx.Err() == nil {
		w.t.Fatalf("%s was not asked", request)
	}
	w.connect()
}

// A stop after the zone issued a token loses neither the token nor what is found out about it.
func TestStopAfterTheExchange(t *testing.T) {
	w := newWorld(t)
	install, binding := w.install(), w.probing()
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	for _, request := range []string{"accessible-resources", probeCall} {
		w.requests.take()
		w.stoppedAt(binding, request)
		if got := w.output(binding).Annotations[v1alpha1.VerdictAnnotation]; got != v1alpha1.ReasonVerified {
			t.Errorf("the verdict is %q after a stop at %s", got, request)
		}
		w.reconcileBinding(binding)
		if n := w.requests.count(exchanges); n != 1 {
			t.Errorf("%d exchanges for a stop at %s", n, request)
		}
		w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
		w.clock.SetTime(binding.Status.RefreshAt.Time)
	}
}
