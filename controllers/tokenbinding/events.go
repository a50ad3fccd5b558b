// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// announce records an event when the object became ready, stopped being ready for another reason, or its
// refresh began to fail. A routine rotation records none.
func (r *Reconciler) announce(s *scope) {
	if c := changed(s, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionUnknown {
		kind, reason := corev1.EventTypeWarning, c.Reason
		switch {
		case c.Status == metav1.ConditionTrue:
			kind = corev1.EventTypeNormal
			if reason == v1alpha1.ReasonReady {
				reason = v1alpha1.EventTokenIssued
			}
		case waitsForTheFirstTime(s):
			kind = corev1.EventTypeNormal
		}
		r.Recorder.Eventf(s.binding, nil, kind, reason, "Exchange", "%s", c.Message)
	}
	if c := changed(s, v1alpha1.ConditionTokenIssued); c != nil && c.Reason == v1alpha1.ReasonRefreshFailing {
		r.Recorder.Eventf(s.binding, nil, corev1.EventTypeWarning, c.Reason, "Exchange", "%s", c.Message)
	}
}

// waitsForTheFirstTime tells whether the object has never been ready and waits for something that a person
// applies along with it: nothing to be warned of yet.
func waitsForTheFirstTime(s *scope) bool {
	before := meta.FindStatusCondition(s.found.Conditions, v1alpha1.ConditionReady)
	return (before == nil || before.Status == metav1.ConditionUnknown) &&
		meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionStalled) == nil
}

// changed gives a condition whose status or reason is not what the reconcile found; nil when it is.
func changed(s *scope, conditionType string) *metav1.Condition {
	before := meta.FindStatusCondition(s.found.Conditions, conditionType)
	now := meta.FindStatusCondition(s.binding.Status.Conditions, conditionType)
	if now == nil || before != nil && before.Status == now.Status && before.Reason == now.Reason {
		return nil
	}
	return now
}
