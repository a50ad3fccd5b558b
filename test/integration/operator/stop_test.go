// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

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
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// stoppedAt reconciles a binding in a process that is told to stop when a request is served and its answer is on the way.
func stoppedAt(w *world.World, b *v1alpha1.ConfluenceTokenBinding, request string) {
	w.T.Helper()
	ctx, stop := context.WithCancel(w.Ctx)
	defer stop()
	w.Requests.Afterwards(func(what string) {
		if strings.Contains(what, request) {
			stop()
		}
	})
	_, _ = w.Bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	w.Requests.Afterwards(nil)
	if ctx.Err() == nil {
		w.T.Fatalf("%s was not asked", request)
	}
	w.Connect()
}

// A stop after the zone issued a token, whether the answer has arrived or not, loses neither the token nor what is found out
// about it.
func TestStopAfterTheExchange(t *testing.T) {
	w := world.New(t)
	install, binding := w.Install(), w.Probing()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	for _, request := range []string{"accessible-resources", world.ProbeCall, world.Exchanges} {
		w.Requests.Take()
		stoppedAt(w, binding, request)
		if got := w.Output(binding).Annotations[v1alpha1.VerdictAnnotation]; got != v1alpha1.ReasonVerified {
			t.Errorf("the verdict is %q after a stop at %s", got, request)
		}
		w.ReconcileBinding(binding)
		if n := w.Requests.Count(world.Exchanges); n != 1 {
			t.Errorf("%d exchanges for a stop at %s", n, request)
		}
		w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
		w.Clock.SetTime(binding.Status.RefreshAt.Time)
	}
}

// A stop while the zone answers a refresh keeps the session: the new refresh token is in the Secret before the process ends.
// The exchange is left to the successor.
func TestStopAfterARefresh(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	w.Connect() // without the session's access token
	w.Due(b)
	before := string(w.SessionSecret().Data["refresh_token"])
	w.Requests.Take()
	stoppedAt(w, b, world.Exchanges)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("the zone was asked %d times by the one that stops", n)
	}
	if string(w.SessionSecret().Data["refresh_token"]) == before {
		t.Error("the session's new refresh token is lost")
	}
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A stop before the refresh token is sent spends nothing.
func TestStopBeforeARefresh(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	w.Connect()
	w.Due(b)
	ctx, stop := context.WithCancel(w.Ctx)
	defer stop()
	undo := w.Writes.StandIn("PATCH /api/v1/namespaces/"+w.NS+"/secrets/alice-session", func(r *http.Request) (*http.Response, error) {
		stop()
		return world.ClusterAnswer(http.StatusOK, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1"}`)(r)
	})
	w.Requests.Take()
	_, err := w.Bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	undo()
	if n := w.Requests.Count(world.Exchanges); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("the zone was asked %d times after the stop, and the end was %v", n, err)
	}
}
