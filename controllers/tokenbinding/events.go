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
func (c *Controller) announce(s *scope) {
	if ready := changed(s, v1alpha1.ConditionReady); ready != nil && ready.Status != metav1.ConditionUnknown {
		kind, reason := corev1.EventTypeWarning, ready.Reason
		switch {
		case ready.Status == metav1.ConditionTrue:
			kind = corev1.EventTypeNormal
			if reason == v1alpha1.ReasonReady {
				reason = v1alpha1.EventTokenIssued
			}
		case waitsForTheFirstTime(s):
			kind = corev1.EventTypeNormal
		}
		c.Recorder.Eventf(s.binding, nil, kind, reason, "Exchange", "%s", ready.Message)
	}
	if issued := changed(s, v1alpha1.ConditionTokenIssued); issued != nil && issued.Reason == v1alpha1.ReasonRefreshFailing {
		c.Recorder.Eventf(s.binding, nil, corev1.EventTypeWarning, issued.Reason, "Exchange", "%s", issued.Message)
	}
}

// waitsForTheFirstTime reports whether the object has never been ready and waits for something that a person
// applies along with it: nothing to be warned of yet.
func waitsForTheFirstTime(s *scope) bool {
	before := meta.FindStatusCondition(s.found.Conditions, v1alpha1.ConditionReady)
	return (before == nil || before.Status == metav1.ConditionUnknown) &&
		meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionStalled) == nil
}

// changed returns a condition whose status or reason is not what the reconcile found; nil when it is.
func changed(s *scope, conditionType string) *metav1.Condition {
	before := meta.FindStatusCondition(s.found.Conditions, conditionType)
	now := meta.FindStatusCondition(s.binding.Status.Conditions, conditionType)
	if now == nil || before != nil && before.Status == now.Status && before.Reason == now.Reason {
		return nil
	}
	return now
}
