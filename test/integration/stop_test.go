// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// stoppedAt reconciles a binding in a process that is told to stop when a request is served and its answer is on the way.
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

// A stop after the zone issued a token, whether the answer has arrived or not, loses neither the token nor what is found out
// about it.
func TestStopAfterTheExchange(t *testing.T) {
	w := newWorld(t)
	install, binding := w.install(), w.probing()
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	for _, request := range []string{"accessible-resources", probeCall, exchanges} {
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

// A stop while the zone answers a refresh keeps the session: the new refresh token is in the Secret before the process ends.
// The exchange is left to the successor.
func TestStopAfterARefresh(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	w.connect() // without the session's access token
	w.due(b)
	before := string(w.sessionSecret().Data["refresh_token"])
	w.requests.take()
	w.stoppedAt(b, exchanges)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("the zone was asked %d times by the one that stops", n)
	}
	if string(w.sessionSecret().Data["refresh_token"]) == before {
		t.Error("the session's new refresh token is lost")
	}
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A stop before the refresh token is sent spends nothing.
func TestStopBeforeARefresh(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	w.connect()
	w.due(b)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	undo := w.writes.standIn("PATCH /api/v1/namespaces/"+w.ns+"/secrets/alice-session", func(r *http.Request) (*http.Response, error) {
		stop()
		return clusterAnswer(http.StatusOK, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1"}`)(r)
	})
	w.requests.take()
	_, err := w.bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	undo()
	if n := w.requests.count(exchanges); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("the zone was asked %d times after the stop, and the end was %v", n, err)
	}
}
