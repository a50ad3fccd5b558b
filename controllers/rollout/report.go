// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/status"
)

// finding is what one reconcile found out.
type finding struct {
	// facts are those that hold now: after the attempt, if one was made.
	facts facts
	act   action
	// tried is true when an attempt was made, and reached is what came of it. progress is true when it restarted a workload
	// that had not been.
	tried, progress bool
	reached         reach
}

// report says whether the workloads need a restart, in the part of status that belongs to this package. Without a new finding
// it says what it said. generation is that of the spec that was acted on.
func (f finding) report(b *v1alpha1.ConfluenceTokenBinding, generation int64) {
	st := &b.Status
	c := status.Conditions{List: &st.Conditions, Generation: generation}
	if b.Spec.Restart == nil {
		st.Restart = nil
		c.Remove(v1alpha1.ConditionRestarted)
		return
	}
	f.remember(st)
	set := func(status metav1.ConditionStatus, reason, message string) {
		c.Set(v1alpha1.ConditionRestarted, status, reason, message)
	}
	have, p := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionRestarted), f.reached.problem()
	switch {
	case p != nil:
		c.Show(v1alpha1.ConditionRestarted, metav1.ConditionFalse, p)
	case f.tried:
		set(metav1.ConditionTrue, v1alpha1.ReasonRestarted, "the workloads were restarted for the token in the Secret")
	case f.act == restartLater:
		c.Show(v1alpha1.ConditionRestarted, metav1.ConditionFalse, problem.RestartPending())
	case have != nil && have.Status != metav1.ConditionUnknown:
		set(have.Status, have.Reason, have.Message)
	case f.facts.token.IsZero():
		set(metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits for an earlier condition")
	default:
		set(metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded, "the token has not changed since spec.restart was set")
	}
}

// remember notes for which token the workloads were restarted, when, and which were not.
func (f finding) remember(st *v1alpha1.ConfluenceTokenBindingStatus) {
	if f.facts.token.IsZero() {
		return
	}
	if st.Restart == nil {
		st.Restart = &v1alpha1.RestartStatus{}
	}
	st.Restart.TokenIssuedAt = &metav1.Time{Time: f.facts.token}
	if !f.facts.at.IsZero() {
		st.Restart.RestartedAt = &metav1.Time{Time: f.facts.at}
	}
	if f.tried {
		st.Restart.Pending = f.reached.pending
	}
}

// pause keeps a restart that failed from being tried again at once. A correction of the spec ends it, and so does the next
// token, unless it was the same restart that failed for the last one. It is in memory only: a process that starts tries again.
type pause struct {
	generation int64
	act        action
	failures   int
	until      time.Time
}
