// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"errors"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// The priorities of reconciles that the operator asks for itself. Events of the cluster have 0, as when a binding is made, or
// -100 at the start.
const (
	// urgent: the token lapses before a mounted file could follow, or has lapsed.
	urgent = 1000
	// first: there is no token yet.
	first = 0
	// routine is of a token that has all the time; one that lapses sooner has more, up to soon. The looks at the start come
	// before that: most of them find nothing to do.
	routine, soon = -1000, -101
)

// priority orders bindings by how soon their token lapses at now (zero: they have none that works).
func priority(deadline, now time.Time) int {
	if deadline.IsZero() {
		return first
	}
	left := deadline.Sub(now)
	if left < refresh.MountPropagation {
		return urgent
	}
	minutes := int(min(left, refresh.MaxLifetime) / time.Minute)
	return soon - (soon-routine)*minutes/int(refresh.MaxLifetime/time.Minute)
}

// deadline is when the token lapses, or when it did; zero when there is none for this spec.
func (s *scope) deadline() time.Time {
	if !s.secret.Fits(s.want) {
		return time.Time{}
	}
	return s.secret.Held.Life.ExpiresAt
}

// turn is when a binding has to have been at the zone: before its token lapses. One that has no token comes after those that
// are about to lapse, and before all others.
func (s *scope) turn() time.Time {
	if at := s.deadline(); !at.IsZero() {
		return at
	}
	return s.now.Add(refresh.MountPropagation)
}

// A binding that waits in line looks for itself, in case it was called while it could not go: after leastBackstop, and later
// the more wait, because that many look. A call is lost hardly ever, so mostBackstop is no harm.
const (
	leastBackstop, mostBackstop = 15 * time.Second, 2 * time.Minute
	backstopPerWaiter           = 10 * time.Millisecond
)

// errQueued says that others are at the zone: the binding is called when it is its turn.
var errQueued = errors.New("waits for its turn at the zone")

// queue has a binding wait for its turn, and say nothing of it while that harms nobody. Otherwise it shows what the last
// attempt failed for, if it did, or why it waits. A request for a new token is not honoured yet.
func (s *scope) queue(why string, silent bool) error {
	s.queued = true
	s.binding.Status.LastRefreshRequest = s.found.LastRefreshRequest
	switch {
	case silent && (s.reported() || s.attempt.problem == nil && s.hasTime()):
		return errQueued
	case s.attempt.problem != nil:
		return s.attempt.problem
	}
	return problem.Waiting(v1alpha1.ReasonThrottled, "%s; it is tried again when it is its turn", why)
}

// reported tells whether status speaks of this spec already.
func (s *scope) reported() bool { return s.before.Status.ObservedGeneration == s.binding.Generation }

// hasTime tells whether the token works for a while: a refresh that is not through yet is nobody's concern.
func (s *scope) hasTime() bool {
	return s.usable() && s.now.Before(refresh.FloorAt(s.secret.Held.Life))
}

// neverIssued tells whether the binding has had no token, and says so.
func (s *scope) neverIssued() bool { return s.secret.Held == nil && s.found.ExpiresAt == nil }

// backstop is how long a binding that waits for its turn, with so many others, is to wait for the call.
func (s *scope) backstop(others int) time.Duration {
	wait := min(leastBackstop+time.Duration(others)*backstopPerWaiter, mostBackstop)
	if s.hasTime() {
		wait = min(wait, refresh.FloorAt(s.secret.Held.Life).Sub(s.now))
	}
	return wait
}

// answerCalls has bindings reconciled that the gates call: whose turn it is comes before everything else.
func (r *Reconciler) answerCalls(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.queue.Store(&queue)
	for _, gates := range []*throttle.Gates{r.Gates, r.LookUps} {
		gates.OnCall(func(id string) {
			namespace, name, _ := strings.Cut(id, "/")
			enqueue(queue, types.NamespacedName{Namespace: namespace, Name: name}, urgent)
		})
	}
	return nil
}
