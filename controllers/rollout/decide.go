// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// defaultInterval is the least time between two restarts, unless the spec has another.
const defaultInterval = 30 * time.Minute

// action is what is to be done about the workloads.
type action int

const (
	// restartNone: they need no restart, or there is no token to restart them for.
	restartNone action = iota
	// restartLater: the last restart is too recent.
	restartLater
	// restartNow: the token changed.
	restartNow
	// restartAgain: the last restart did not reach all of them, and can be tried again.
	restartAgain
)

// facts is all that the decision depends on.
type facts struct {
	now time.Time
	// interval is the least time between two restarts.
	interval time.Duration
	// held is when the token in the Secret was issued; zero when there is none that works, or when nothing may be restarted.
	held time.Time
	// token is when the token was issued that they were last restarted for, or the one that was there at first; zero when
	// there was none yet. at is when they were restarted; zero: never.
	token, at time.Time
	// owed is true when the last restart did not reach all of them.
	owed bool
}

// factsOf reads the facts from an object whose status speaks of its spec.
func factsOf(b *v1alpha1.ConfluenceTokenBinding, now time.Time) facts {
	f := facts{now: now, interval: intervalOf(b), token: timeOf(b.Status.IssuedAt)}
	works := meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionTokenIssued) && now.Before(timeOf(b.Status.ExpiresAt))
	if works && !ptr.Deref(b.Spec.Suspend, false) {
		f.held = timeOf(b.Status.IssuedAt)
	}
	if last := b.Status.Restart; last != nil { // without it, the workloads have the token that is there
		f.token, f.at = timeOf(last.TokenIssuedAt), timeOf(last.RestartedAt)
		f.owed = slices.ContainsFunc(last.Pending, func(p v1alpha1.PendingRestart) bool { return retriable(p) || !isTarget(b, p) })
	}
	return f
}

func intervalOf(b *v1alpha1.ConfluenceTokenBinding) time.Duration {
	interval, err := time.ParseDuration(string(b.Spec.Restart.MinInterval))
	if err != nil {
		return defaultInterval // it is absent: the schema admits nothing that can't be parsed
	}
	return interval
}

func timeOf(t *metav1.Time) time.Time { return ptr.Deref(t, metav1.Time{}).Time }

// retriable reports whether a restart that did not reach a workload is tried again. What does not exist starts with the token
// that is there.
func retriable(p v1alpha1.PendingRestart) bool {
	return p.Reason != v1alpha1.ReasonRestartTargetNotFound
}

// isTarget reports whether the spec names the workload. It does not after a correction.
func isTarget(b *v1alpha1.ConfluenceTokenBinding, p v1alpha1.PendingRestart) bool {
	return slices.Contains(b.Spec.Restart.Targets, v1alpha1.RestartTarget{Kind: p.Kind, Name: p.Name})
}

// changed reports whether the Secret holds another token than the workloads.
func (f facts) changed() bool { return !f.held.IsZero() && !f.token.IsZero() && !f.held.Equal(f.token) }

// decide gives the action.
func decide(f facts) action {
	if f.held.IsZero() || f.token.IsZero() {
		return restartNone
	}
	// A restart that lies far in the future was noted by a clock that was wrong.
	since := f.now.Sub(f.at)
	over := f.at.IsZero() || since >= f.interval || since < -f.interval
	switch {
	case f.changed() && over:
		return restartNow
	case f.owed:
		return restartAgain
	case f.changed():
		return restartLater
	}
	return restartNone
}

// nextWake is when a restart is due by time alone: when the pause after a failure is over, or the interval is; zero when none
// is.
func (f facts) nextWake(pauseUntil time.Time) (next time.Time) {
	times := []time.Time{pauseUntil}
	if f.changed() && !f.at.IsZero() {
		times = append(times, f.at.Add(f.interval))
	}
	for _, t := range times {
		if t.After(f.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// after is what status remembers after an attempt at now.
func (f facts) after(act action, reached reach, last []v1alpha1.PendingRestart, now time.Time) (next facts, progress bool) {
	next = f
	next.owed = slices.ContainsFunc(reached.pending, retriable)
	if act == restartNow && (reached.done > 0 || !next.owed) {
		next.token = f.held // otherwise the whole restart is still due
	}
	progress = reached.done > 0 && (act == restartNow || anyLeft(last, reached.pending))
	if progress {
		next.at = now.UTC().Truncate(time.Second) // as it is stored
	}
	return next, progress
}

// anyLeft reports whether a workload that was pending is not any more.
func anyLeft(before, now []v1alpha1.PendingRestart) bool {
	return slices.ContainsFunc(before, func(p v1alpha1.PendingRestart) bool {
		return !slices.ContainsFunc(now, func(q v1alpha1.PendingRestart) bool { return q.Kind == p.Kind && q.Name == p.Name })
	})
}
