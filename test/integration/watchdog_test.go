// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/controllers"
)

// A machine that slept: the clock on the wall is past the refresh, and the timer that was to wake the binding has most of its
// time before it. The watchdog notices, once, and the token is replaced.
func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	resource, b := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, b))
	o := w.startOperator(func(o *controllers.Options) { o.Clock, o.WatchEvery = w.clock, 50*time.Millisecond })
	w.untilReady(b)
	for range 2 {
		first := b.Status.IssuedAt
		w.requests.take()
		w.clock.SetTime(b.Status.RefreshAt.Add(61 * time.Second))
		w.eventually("the token is replaced", func(ctx context.Context) (bool, error) {
			err := w.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
			return !b.Status.IssuedAt.Equal(first), err
		})
		if n := w.requests.count(exchanges); n != 1 {
			t.Errorf("it was exchanged %d times", n)
		}
	}
	see := func(line string) {
		t.Helper()
		w.eventually(line, func(context.Context) (bool, error) { return slices.Contains(o.gathered(), line), nil })
	}
	see("keycard_bindings_overdue{} 0")
	if n := strings.Count(w.logs.String(), "was not woken in time"); n < 1 || n > 2 {
		t.Errorf("it was logged %d times, for two times that it was not woken", n)
	}

	// A suspended binding is nobody's business, also when its time is long past.
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
	b.Spec.Suspend = new(true)
	must(t, w.k8s.Update(w.ctx, b))
	w.eventually("it is suspended", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.RefreshAt == nil && b.Status.ObservedGeneration == b.Generation, err
	})
	w.requests.take()
	w.clock.SetTime(b.Status.ExpiresAt.Add(2 * time.Minute))
	w.eventually("it shows that the token expired", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return slices.ContainsFunc(b.Status.Conditions, func(c metav1.Condition) bool { return c.Type == "Ready" && c.Status == metav1.ConditionFalse }), err
	})
	if n := w.requests.count(exchanges); n != 0 {
		t.Errorf("a suspended binding exchanged %d times", n)
	}
}
