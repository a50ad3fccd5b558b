// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/internal/schedule"
)

// The priorities of reconciles that the operator asks for itself. Events of the cluster have 0, or -100 at the start.
const (
	// urgent: the token lapses before a mounted file could follow.
	urgent = 2000
	// first: there is no token yet.
	first = 1000
	// routine is of a token that has all the time; one that lapses sooner has more, up to first.
	routine = 100
)

// priority orders bindings by how soon their token lapses at now (zero: they have none that works).
func priority(deadline, now time.Time) int {
	if deadline.IsZero() {
		return first
	}
	left := deadline.Sub(now)
	if left < schedule.MountPropagation {
		return urgent
	}
	minutes := int(min(left, schedule.MaxLifetime) / time.Minute)
	return routine + (first-routine-1)*(int(schedule.MaxLifetime/time.Minute)-minutes)/int(schedule.MaxLifetime/time.Minute)
}

// deadline is when the token lapses; zero when there is none that works.
func (s *scope) deadline() time.Time {
	if !s.usable() {
		return time.Time{}
	}
	return s.held.life.ExpiresAt
}

// A binding that waits in line looks for itself, in case it was called while it could not go: after leastBackstop, and later
// the more wait, because that many look. A call is lost hardly ever, so mostBackstop is no harm.
const (
	leastBackstop, mostBackstop = 15 * time.Second, 2 * time.Minute
	backstopPerWaiter           = 10 * time.Millisecond
)

// inLine is the result of a binding that waits for its turn, with so many others: it is called.
func (s *scope) inLine(others int) ctrl.Result {
	wait := min(leastBackstop+time.Duration(others)*backstopPerWaiter, mostBackstop)
	if s.usable() {
		wait = min(wait, max(schedule.FloorAt(s.held.life).Sub(s.now), time.Second))
	}
	return ctrl.Result{RequeueAfter: wait, Priority: new(priority(s.deadline(), s.now))}
}

// answerCalls has bindings reconciled that the gates call.
func (r *Reconciler) answerCalls(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Gates.OnCall(func(id string, deadline time.Time) {
		namespace, name, _ := strings.Cut(id, "/")
		enqueue(queue, types.NamespacedName{Namespace: namespace, Name: name}, priority(deadline, r.Clock.Now()))
	})
	return nil
}
