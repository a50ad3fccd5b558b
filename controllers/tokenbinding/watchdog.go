// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// The queue wakes a binding by a timer, and timers run on monotonic time: they stand still while a machine sleeps, and know
// nothing of a clock that was set forward. Tokens expire by the clock on the wall. The watchdog compares the two.

const (
	// overdueAfter is how late a refresh may be before it counts: it takes its time, and status is written after it.
	overdueAfter = time.Minute
	// defaultWatchEvery is how often the watchdog looks.
	defaultWatchEvery = 30 * time.Second
)

// overdue reports whether a token should have been refreshed more than a minute before now, whatever the reason.
func overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	suspended := b.Spec.Suspend != nil && *b.Spec.Suspend
	return b.Status.RefreshAt != nil && !suspended && now.Sub(b.Status.RefreshAt.Time) > overdueAfter
}

// Overdue reports whether a token should have been refreshed more than a minute before now, whatever the reason. It is not where
// the zone was asked and has no newer one yet.
func (c *Controller) Overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	return overdue(b, now) && !c.memories.waitsForNewer(client.ObjectKeyFromObject(b), now)
}

// Rescues returns how often the watchdog had a binding looked at, in this process.
func (c *Controller) Rescues() int64 { return c.rescued.Load() }

// missed reports whether b is overdue and has no pending wake-up. A binding that was looked at has said when it wants to be woken.
// One that was not has only its status.
func missed(b *v1alpha1.ConfluenceTokenBinding, wake time.Time, known bool, now time.Time) bool {
	switch {
	case !b.DeletionTimestamp.IsZero():
		return false
	case known:
		return !wake.IsZero() && now.Sub(wake) > overdueAfter
	}
	return overdue(b, now)
}

// watch is the watchdog. It works while this replica is the leader: sources start before that, so that a standby is warm.
func (c *Controller) watch(ctx context.Context, q queue, elected <-chan struct{}, every time.Duration) {
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
			if err := c.rescue(ctx, q, told); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "looking for bindings that were not woken")
			}
		}
	}
}

// rescue has the bindings looked at that were missed, the one first whose token lapses first. told keeps those that were logged.
func (c *Controller) rescue(ctx context.Context, q queue, told map[types.NamespacedName]bool) error {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := c.Client.List(ctx, &bindings, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing bindings: %w", err)
	}
	now, late := c.Clock.Now().Round(0), map[types.NamespacedName]bool{}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		key := client.ObjectKeyFromObject(b)
		if wake, known := c.memories.wake(key); !missed(b, wake, known, now) {
			continue
		}
		late[key] = true
		if !told[key] {
			log.FromContext(ctx).Info("a binding was not woken in time; it is looked at now", "binding", key)
		}
		c.rescued.Add(1)
		var lapses time.Time
		if at := b.Status.ExpiresAt; at != nil {
			lapses = at.Time
		}
		enqueue(q, key, refresh.Priority(lapses, now))
	}
	clear(told)
	for key := range late {
		told[key] = true
	}
	return nil
}
