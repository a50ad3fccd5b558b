// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// invite says how to consent while that is what is missing: by the link to the consent page in status, or, without one, by the
// command in the problem that it returns. Both know only bindings that name their user. It waits until the install has registered
// the application that people sign in to: neither is of use before.
func (c *Controller) invite(s *scope, p *problem.Problem) *problem.Problem {
	s.binding.Status.ConsentURL = ""
	if p == nil || p.Reason != v1alpha1.ReasonConsentRequired || s.binding.Spec.Subject.User == "" ||
		s.target.Install == nil || s.target.Install.Status.ConsentClientID == "" {
		return p
	}
	if c.ConsentURL != nil {
		s.binding.Status.ConsentURL = consent.Link(c.ConsentURL, s.binding.Namespace, s.binding.Name)
		return p.AtPage()
	}
	return p.WithCommand(consent.Command(s.binding.Namespace, s.binding.Name))
}

// Consented tries a binding again whose person has a new grant in the zone.
func (c *Controller) Consented(key types.NamespacedName) {
	c.hear(key, refresh.Consented)
	c.lookAt(key)
}

// Returned tries a binding again, because a person is said to have been at the zone for it, and reports whether that was believed.
// It is looked at in any case: its link may have been taken away to tell, and is to be there again.
func (c *Controller) Returned(key types.NamespacedName) bool {
	believed := c.hear(key, refresh.Returned).Verb == refresh.Look
	c.lookAt(key)
	return believed
}

// hear takes a step of a binding that may be reconciled at the same time.
func (c *Controller) hear(key types.NamespacedName, kind refresh.Kind) refresh.Action {
	_, action := c.memories.step(c.memories.of(key), refresh.Facts{Now: c.Clock.Now()}, refresh.Event{Kind: kind})
	return action
}

// lookAt has a binding looked at, once the controller runs: it looks at all of them when it starts.
func (c *Controller) lookAt(key types.NamespacedName) {
	if q := c.queue.Load(); q != nil {
		enqueue(*q, key, refresh.Urgent)
	}
}
