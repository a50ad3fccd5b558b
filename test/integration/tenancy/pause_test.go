// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tenancy

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A zone that asks one binding for a pause gets it from all: within it nobody asks, after it one tries, and then all have
// their tokens without anybody's help.
func TestOnePauseForTheZone(t *testing.T) {
	const pause = 3 * time.Second
	w := world.New(t, world.RealTime)
	var until atomic.Int64
	var early, probes atomic.Int32
	w.StartOperator()
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.UntilReady(install)
	undo := w.Requests.Answer("zone POST /oauth/2/token", func(rw http.ResponseWriter, _ *http.Request) {
		if at := until.Load(); at != 0 && time.Now().UnixNano() < at {
			early.Add(1)
		}
		probes.Add(1)
		until.CompareAndSwap(0, time.Now().Add(pause).UnixNano())
		rw.Header().Set("Retry-After", "3")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	first := w.Binding("first")
	must.Succeed(t, w.K8s.Create(w.Ctx, first))
	w.Eventually("the zone was asked", func(context.Context) (bool, error) { return until.Load() != 0, nil })
	bindings := []*v1alpha1.ConfluenceTokenBinding{first}
	for i := range 20 {
		b := w.Binding(fmt.Sprintf("more-%d", i))
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
		bindings = append(bindings, b)
	}
	last := bindings[len(bindings)-1]
	w.Eventually("the others say why they wait", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(last), last)
		c := meta.FindStatusCondition(last.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == v1alpha1.ReasonThrottled, err
	})
	w.Eventually("one tried after the pause", func(context.Context) (bool, error) { return probes.Load() > 1, nil })
	if n := early.Load(); n != 0 {
		t.Errorf("%d asked during the pause", n)
	}
	undo()
	for _, b := range bindings {
		w.UntilReady(b)
	}
	if n := probes.Load(); n > 3 {
		t.Errorf("%d tried a zone that throttles", n)
	}
}
