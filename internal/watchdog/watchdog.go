// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watchdog finds bindings that were not woken in time. The queue wakes a binding by a timer, and timers run on monotonic
// time: they stand still while a machine sleeps, and know nothing of a clock that was set forward. Tokens expire by the clock on the
// wall. The watchdog compares the two.
package watchdog

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

const (
	// overdueAfter is how late a refresh may be before it counts: it takes its time, and status is written after it.
	overdueAfter = time.Minute
	// Every is how often the watchdog looks by default.
	Every = 30 * time.Second
)

// Overdue reports whether a token should have been refreshed more than a minute before now, whatever the reason.
func Overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	suspended := b.Spec.Suspend != nil && *b.Spec.Suspend
	return b.Status.RefreshAt != nil && !suspended && now.Sub(b.Status.RefreshAt.Time) > overdueAfter
}

// Watchdog looks for bindings that were not woken.
type Watchdog struct {
	// Reader lists bindings.
	Reader client.Reader
	Clock  clock.PassiveClock
	// Wake returns when a binding asked to be woken, and false when it has not been looked at yet.
	Wake func(types.NamespacedName) (at time.Time, known bool)
	// Look has a binding looked at, with a priority.
	Look func(key types.NamespacedName, priority int)
}

// missed reports whether b is overdue and has no pending wake-up. A binding that was looked at has said when it wants to be woken.
// One that was not has only its status.
func missed(b *v1alpha1.ConfluenceTokenBinding, wake time.Time, known bool, now time.Time) bool {
	switch {
	case !b.DeletionTimestamp.IsZero():
		return false
	case known:
		return !wake.IsZero() && now.Sub(wake) > overdueAfter
	}
	return Overdue(b, now)
}

// Run looks every so often, from when this replica is the leader until ctx ends. Sources start before that, so that a standby is
// warm.
func (w Watchdog) Run(ctx context.Context, elected <-chan struct{}, every time.Duration) {
	select {
	case <-elected:
	case <-ctx.Done():
		return
	}
	told := map[types.NamespacedName]bool{}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := w.rescue(ctx, told); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "looking for bindings that were not woken")
			}
		}
	}
}

// rescue has the bindings looked at that were missed, the one first whose token lapses first. told keeps those that were logged.
func (w Watchdog) rescue(ctx context.Context, told map[types.NamespacedName]bool) error {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := w.Reader.List(ctx, &bindings, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing bindings: %w", err)
	}
	now, late := w.Clock.Now().Round(0), map[types.NamespacedName]bool{}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		key := client.ObjectKeyFromObject(b)
		if wake, known := w.Wake(key); !missed(b, wake, known, now) {
			continue
		}
		late[key] = true
		if !told[key] {
			log.FromContext(ctx).Info("a binding was not woken in time; it is looked at now", "binding", key)
		}
		var lapses time.Time
		if at := b.Status.ExpiresAt; at != nil {
			lapses = at.Time
		}
		w.Look(key, refresh.Priority(lapses, now))
	}
	clear(told)
	for key := range late {
		told[key] = true
	}
	return nil
}
