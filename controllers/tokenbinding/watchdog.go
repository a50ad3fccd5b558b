// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// The queue wakes a binding by a timer, and timers run on monotonic time: they stand still while a machine sleeps, and know
// nothing of a clock that was set forward. Tokens expire by the clock on the wall. The watchdog compares the two.

const (
	// overdueAfter is how late a refresh may be before it counts: it takes its time, and status is written after it.
	overdueAfter = time.Minute
	// defaultWatchEvery is how often the watchdog looks.
	defaultWatchEvery = 30 * time.Second
)

// overdue tells whether a token should have been refreshed more than a minute before now, whatever the reason.
func overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	suspended := b.Spec.Suspend != nil && *b.Spec.Suspend
	return b.Status.RefreshAt != nil && !suspended && now.Sub(b.Status.RefreshAt.Time) > overdueAfter
}

// Overdue tells whether a token should have been refreshed more than a minute before now, whatever the reason: but not when the
// zone was asked and has no newer one yet.
func (r *Reconciler) Overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	return overdue(b, now) && !r.attempts.waitsForNewer(client.ObjectKeyFromObject(b), now)
}

// wakes remembers when each binding is to be woken by time, and zero for one that waits for a watch. The zero value is ready
// for use.
type wakes struct {
	mu sync.Mutex
	m  map[types.NamespacedName]time.Time
}

func (w *wakes) note(key types.NamespacedName, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil {
		w.m = map[types.NamespacedName]time.Time{}
	}
	w.m[key] = at
}

func (w *wakes) of(key types.NamespacedName) (at time.Time, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, known = w.m[key]
	return at, known
}

func (w *wakes) drop(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.m, key)
}

// missed tells whether a binding should be looked at and nobody does. One that was looked at has said when it wants to be
// woken: at its refresh, or when a pause after a failure is over. One that was not has only its status.
func missed(b *v1alpha1.ConfluenceTokenBinding, wake time.Time, known bool, now time.Time) bool {
	switch {
	case !b.DeletionTimestamp.IsZero():
		return false
	case known:
		return !wake.IsZero() && now.Sub(wake) > overdueAfter
	}
	return overdue(b, now)
}

// noting is Reconcile, and remembers when it wants to be called again.
func (r *Reconciler) noting() reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		result, err := r.Reconcile(ctx, req)
		if err != nil || result.Priority == nil { // only a binding that is there has a priority
			return result, err
		}
		var wake time.Time
		if result.RequeueAfter > 0 {
			wake = r.Clock.Now().Round(0).Add(result.RequeueAfter) // by the clock on the wall
		}
		r.wakes.note(req.NamespacedName, wake)
		return result, nil
	})
}

// watch starts the watchdog, which lives as long as the controller: only the leader has one.
func (r *Reconciler) watch(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	told := map[types.NamespacedName]bool{}
	go r.every(ctx, cmp.Or(r.WatchEvery, defaultWatchEvery), func() {
		if err := r.look(ctx, queue, told); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "looking for bindings that were not woken")
		}
	})
	return nil
}

// every does something again and again while this replica is the leader, and ends with the context.
func (r *Reconciler) every(ctx context.Context, period time.Duration, do func()) {
	if !r.leads(ctx) {
		return
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// leads waits until this replica is the leader: sources start before that, so that a standby is warm.
func (r *Reconciler) leads(ctx context.Context) bool {
	select {
	case <-r.elected:
		return true
	case <-ctx.Done():
		return false
	}
}

// look has the bindings reconciled that were missed, the one first whose token lapses first. A reconcile of one that waits for
// good reason does nothing. told keeps those that were logged.
func (r *Reconciler) look(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request], told map[types.NamespacedName]bool) error {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := r.Client.List(ctx, &bindings, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing bindings: %w", err)
	}
	now, late := r.Clock.Now().Round(0), map[types.NamespacedName]bool{}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		key := client.ObjectKeyFromObject(b)
		if wake, known := r.wakes.of(key); !missed(b, wake, known, now) {
			continue
		}
		late[key] = true
		if !told[key] {
			log.FromContext(ctx).Info("a binding was not woken in time; it is reconciled now", "binding", key)
		}
		r.rescued.Add(1)
		enqueue(queue, key, priority(lapses(b), now))
	}
	clear(told)
	for key := range late {
		told[key] = true
	}
	return nil
}

// lapses is when a binding's token expires, or when it did, by its status; zero when there is none.
func lapses(b *v1alpha1.ConfluenceTokenBinding) time.Time {
	if b.Status.ExpiresAt == nil {
		return time.Time{}
	}
	return b.Status.ExpiresAt.Time
}

// enqueue has a binding reconciled at once. One that is in the queue already is there once, with the higher priority.
func enqueue(queue workqueue.TypedRateLimitingInterface[reconcile.Request], key types.NamespacedName, priority int) {
	request := reconcile.Request{NamespacedName: key}
	if q, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priority)}, request)
		return
	}
	queue.Add(request)
}

// Rescues is how often the watchdog had a binding reconciled, in this process.
func (r *Reconciler) Rescues() int64 { return r.rescued.Load() }
