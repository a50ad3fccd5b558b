// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// drift is one object of the zone that was not as the spec wants it.
type drift struct {
	at step
	// object is what it is, and fields what about it differed: names of fields, or that it was deleted.
	object string
	fields []string
}

func (d drift) String() string { return d.object + ": " + strings.Join(d.fields, ", ") }

// deleted stands in the place of fields for an object that was there once.
const deleted = "deleted"

func (s *scope) observing() bool {
	return s.resource.Spec.ManagementPolicy == v1alpha1.ManagementObserve
}

// change makes a change in the zone. It is the only way to one: where the zone is only observed, the difference is
// noted and nothing is sent. A change without fields is no difference: it is a part of something that is being made.
func (s *scope) change(at step, object string, fields []string, do func() error) error {
	if !s.observing() {
		if err := do(); err != nil {
			return problem.Remote(err)
		}
	}
	if len(fields) > 0 {
		s.drift = append(s.drift, drift{at: at, object: object, fields: fields})
	}
	return nil
}

// creating has to be asked before an object is made.
func (s *scope) creating(object, identifier string) error {
	if s.observing() {
		return problem.NeedsPerson(v1alpha1.ReasonNotRegistered,
			"the zone has no %s with the identifier %s, and spec.managementPolicy is Observe; create it, or set managementPolicy to Manage", object, identifier)
	}
	return nil
}

// created has to be told afterwards. known is the object's id as status has it: one that was there before was deleted
// by somebody.
func (s *scope) created(at step, object, known string) {
	if known != "" {
		s.drift = append(s.drift, drift{at: at, object: object, fields: []string{deleted}})
	}
}

// driftAt describes what differs in a step; empty when nothing does.
func (s *scope) driftAt(at step) string {
	var found []string
	for _, d := range s.drift {
		if d.at == at {
			found = append(found, d.String())
		}
	}
	return strings.Join(found, "; ")
}

// allDrift describes all that differs.
func (s *scope) allDrift() string {
	found := make([]string, len(s.drift))
	for i, d := range s.drift {
		found[i] = d.String()
	}
	return strings.Join(found, "; ")
}

// announceDrift records what was put right. What a changed spec or a changed Secret asked for is no drift.
func (r *Reconciler) announceDrift(s *scope) {
	if s.rotated {
		r.Recorder.Eventf(s.resource, nil, corev1.EventTypeNormal, v1alpha1.EventOAuthAppRotated, "Install", "%s", "the changed OAuth app was sent to the zone")
	}
	if s.observing() || !s.settled() {
		return
	}
	for _, d := range s.drift {
		r.Recorder.Eventf(s.resource, nil, corev1.EventTypeWarning, v1alpha1.EventDriftCorrected, "Install",
			"changed at the zone by somebody else, and put right: %s", d)
	}
}
