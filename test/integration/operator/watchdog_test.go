// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A machine that slept: the clock on the wall is past the refresh, and the timer that was to wake the binding has most of its
// time before it. The watchdog notices, once, and the token is replaced.
func TestWatchdog(t *testing.T) {
	w := world.New(t)
	resource, b := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	o := w.StartOperator(func(o *controllers.Options) { o.Clock, o.WatchEvery = w.Clock, 50*time.Millisecond })
	w.UntilReady(b)
	for range 2 {
		first := b.Status.IssuedAt
		w.Requests.Take()
		w.Clock.SetTime(b.Status.RefreshAt.Add(61 * time.Second))
		w.Eventually("the token is replaced", func(ctx context.Context) (bool, error) {
			err := w.K8s.Get(ctx, client.ObjectKeyFromObject(b), b)
			return !b.Status.IssuedAt.Equal(first), err
		})
		if n := w.Requests.Count(world.Exchanges); n != 1 {
			t.Errorf("it was exchanged %d times", n)
		}
	}
	see := func(line string) {
		t.Helper()
		w.Eventually(line, func(context.Context) (bool, error) { return slices.Contains(o.Gathered(), line), nil })
	}
	see("keycard_bindings_overdue{} 0")
	if n := strings.Count(w.Logs.String(), "was not woken in time"); n < 1 || n > 2 {
		t.Errorf("it was logged %d times, for two times that it was not woken", n)
	}

	// A suspended binding is nobody's business, also when its time is long past.
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
	b.Spec.Suspend = new(true)
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.Eventually("it is suspended", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.RefreshAt == nil && b.Status.ObservedGeneration == b.Generation, err
	})
	w.Requests.Take()
	w.Clock.SetTime(b.Status.ExpiresAt.Add(2 * time.Minute))
	w.Eventually("it shows that the token expired", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return slices.ContainsFunc(b.Status.Conditions, func(c metav1.Condition) bool { return c.Type == "Ready" && c.Status == metav1.ConditionFalse }), err
	})
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("a suspended binding exchanged %d times", n)
	}
}
