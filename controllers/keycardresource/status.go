// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/status"
)

// order is the order in which the conditions become True.
func (s *scope) order() []step {
	order := []step{stepCredentials, stepProvider, stepResource}
	if len(s.Object.Spec.Policies) > 0 {
		order = append(order, stepPolicies)
	}
	if len(s.Object.Spec.Applications) > 0 || s.Object.Spec.WorkloadRegistration != nil {
		order = append(order, stepApplications)
	}
	return order
}

func (s *scope) conditions() status.Conditions {
	return status.Conditions{List: &s.Object.Status.Conditions, Generation: s.Object.Generation}
}

// progressing is the first status an object gets, before anything remote is asked.
func (s *scope) progressing() {
	s.Object.Status.ObservedGeneration = s.Object.Generation
	c := s.conditions()
	c.Set(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "installing into the zone")
	c.Reconciling(v1alpha1.ReasonProgressing)
}

// held says why a deletion goes no further.
func (s *scope) held(p *problem.Problem) {
	c := s.conditions()
	c.Show(v1alpha1.ConditionReady, metav1.ConditionFalse, p)
	c.Reconciling(p.Reason)
}

// inUse is that the deletion waits a moment for bindings that still use the resource.
func inUse(users []v1alpha1.ConfluenceTokenBinding) *problem.Problem {
	names := make([]string, len(users))
	for i := range users {
		names[i] = users[i].Namespace + "/" + users[i].Name
	}
	slices.Sort(names)
	return problem.InUse(names, waitForUsers)
}

// report turns what the reconcile found into conditions. A passing problem leaves alone what was
// True for this generation: an outage of the zone does not undo a registration.
func (s *scope) report(at step, p *problem.Problem) {
	s.Object.Status.ObservedGeneration = s.Object.Generation
	c := s.conditions()
	if s.suspended() {
		s.reportSuspended(c)
		return
	}
	reached := at != stepPlan
	if at == stepPlan {
		at = stepResource
	}
	order := s.order()
	for _, st := range []step{stepPolicies, stepApplications} {
		// What the spec does not ask for has no condition, except while it fails to be removed.
		if !slices.Contains(order, st) {
			meta.RemoveStatusCondition(&s.Object.Status.Conditions, st)
			if st == at {
				order = append(order, st)
			}
		}
	}
	for _, st := range order {
		switch {
		case st == at:
			reached = false
			s.reportProblem(c, st, p)
		case reached:
			s.reportReached(c, st)
		case !s.wasTrue(st):
			c.Set(st, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits for an earlier condition")
		}
	}
	s.reportReady(c, p)
}

// reportReached sets the condition of a step that was taken.
func (s *scope) reportReached(c status.Conditions, st step) {
	if p := s.drifted(st); p != nil {
		c.Show(st, metav1.ConditionFalse, p)
		return
	}
	c.Set(st, metav1.ConditionTrue, s.trueReason(st), s.trueMessage(st))
}

// drifted is that the zone differs in the steps, in all when none is named, and stays as it is.
func (s *scope) drifted(steps ...step) *problem.Problem {
	var found []string
	for _, d := range s.Zone.Drift(steps...) {
		found = append(found, d.String())
	}
	if len(found) == 0 || !s.Zone.Observing {
		return nil
	}
	return problem.Drifted(strings.Join(found, "; "))
}

// reportProblem sets the condition of the step that can't go on.
func (s *scope) reportProblem(c status.Conditions, st step, p *problem.Problem) {
	switch {
	case p.Passes() && s.wasTrue(st):
	case p.Passes():
		c.Show(st, metav1.ConditionUnknown, p)
	default:
		c.Show(st, metav1.ConditionFalse, p)
	}
}

func (s *scope) reportReady(c status.Conditions, p *problem.Problem) {
	if p == nil {
		p = s.drifted()
	}
	if p == nil || p.Passes() && s.wasTrue(v1alpha1.ConditionReady) {
		c.Set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "installed in the zone")
		c.Settled()
		return
	}
	c.Show(v1alpha1.ConditionReady, metav1.ConditionFalse, p)
	c.Moves(p)
}

func (s *scope) reportSuspended(c status.Conditions) {
	status := metav1.ConditionFalse
	if meta.IsStatusConditionTrue(s.Found.Conditions, v1alpha1.ConditionReady) {
		status = metav1.ConditionTrue
	}
	c.Set(v1alpha1.ConditionReady, status, v1alpha1.ReasonSuspended, "spec.suspend is true: the zone is not touched")
	c.Settled()
}

// wasTrue reports whether the condition was True for this generation of the spec.
func (s *scope) wasTrue(conditionType step) bool {
	c := meta.FindStatusCondition(s.Found.Conditions, conditionType)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == s.Object.Generation
}

func (s *scope) trueReason(st step) string {
	switch {
	case st == stepCredentials:
		return v1alpha1.ReasonAccepted
	case s.Zone.Observing:
		return v1alpha1.ReasonObserved
	case st == stepProvider && s.shared:
		return v1alpha1.ReasonShared
	case st == stepPolicies:
		return v1alpha1.ReasonApplied
	}
	return v1alpha1.ReasonRegistered
}

func (s *scope) trueMessage(st step) string {
	switch {
	case st == stepCredentials:
		return "both Secrets are well-formed and the zone accepted the service account"
	case st == stepProvider && s.shared:
		return "the zone's provider was made by someone else for the same OAuth app, and is used as it is"
	case st == stepProvider:
		return "the zone has the OAuth provider with this app"
	case st == stepApplications:
		return "the applications and workloads may ask for tokens of the resource"
	case st == stepPolicies:
		return "the policies are in force in the zone"
	}
	return "the zone has the resource"
}

// announce records an event when Ready changed, or its reason did.
func (c *Controller) announce(s *scope) {
	before := meta.FindStatusCondition(s.Found.Conditions, v1alpha1.ConditionReady)
	now := meta.FindStatusCondition(s.Object.Status.Conditions, v1alpha1.ConditionReady)
	if now == nil || before != nil && before.Status == now.Status && before.Reason == now.Reason {
		return
	}
	kind := corev1.EventTypeWarning
	if now.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	c.deps.Recorder.Eventf(s.Object, nil, kind, now.Reason, "Install", "%s", now.Message)
}

// announceDrift records what was put right. What a changed spec or Secret asked for is no drift.
func (c *Controller) announceDrift(s *scope) {
	if s.rotated {
		c.deps.Recorder.Eventf(s.Object, nil, corev1.EventTypeNormal, v1alpha1.EventOAuthAppRotated, "Install", "%s", "the changed OAuth app was sent to the zone")
	}
	if s.Zone.Observing || !s.settled() {
		return
	}
	for _, d := range s.Zone.Drift() {
		c.deps.Recorder.Eventf(s.Object, nil, corev1.EventTypeWarning, v1alpha1.EventDriftCorrected, "Install",
			"changed at the zone by someone else, and put right: %s", d)
	}
}
