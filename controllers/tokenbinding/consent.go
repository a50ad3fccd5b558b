// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// invite says how to consent while that is what is missing: by the link to the consent page in status, or, without one,
// by the command in the problem that it gives. Both know only bindings that name their user. It waits until the install has
// registered the application that people sign in to: neither is of use before.
func (r *Reconciler) invite(s *scope, p *problem.Problem) *problem.Problem {
	s.binding.Status.ConsentURL = ""
	if p == nil || p.Reason != v1alpha1.ReasonConsentRequired || s.binding.Spec.Subject.User == "" ||
		s.install == nil || s.install.Status.ConsentClientID == "" {
		return p
	}
	if r.ConsentURL != nil {
		s.binding.Status.ConsentURL = consent.Link(r.ConsentURL, s.binding.Namespace, s.binding.Name)
		return p
	}
	invitation := *p
	invitation.Message += ": run " + consent.Command(s.binding.Namespace, s.binding.Name)
	return &invitation
}

// Consented tries a binding again whose person has a new grant in the zone.
func (r *Reconciler) Consented(key types.NamespacedName) {
	if r.attempts.consented(key) {
		r.wakeNow(key)
	}
}

// Returned tries a binding again, because a person is said to have been at the zone for it, and reports whether that was
// believed. It is looked at in any case: its link may have been taken away to tell, and is to be there again.
func (r *Reconciler) Returned(key types.NamespacedName) bool {
	believed := r.attempts.wake(key, r.Clock.Now())
	r.wakeNow(key)
	return believed
}

// wakeNow has a binding looked at, once the controller runs: it looks at all of them when it starts.
func (r *Reconciler) wakeNow(key types.NamespacedName) {
	if queue := r.queue.Load(); queue != nil {
		(*queue).Add(ctrl.Request{NamespacedName: key})
	}
}
