// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// ensureApplications lets the applications of the spec, the one for consent, and the workloads that bindings name ask for
// tokens of the resource.
func (r *Reconciler) ensureApplications(ctx context.Context, s *scope) error {
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	var first error
	for _, ensure := range []func(context.Context, *scope) error{r.ensureDeclared, r.ensureConsent, r.ensureWorkloads} {
		err := ensure(ctx, s)
		if p, ok := asProblem(err); err != nil && (!ok || p.Passes()) {
			return err
		}
		// What a person has to mend of some applications does not keep the others from being registered.
		if first == nil {
			first = err
		}
	}
	return first
}

// ensureDeclared gives each application of the spec the resource as a dependency, and takes it from those that are no
// longer there.
func (r *Reconciler) ensureDeclared(ctx context.Context, s *scope) error {
	if len(s.resource.Spec.Applications)+len(s.resource.Status.Applications) == 0 {
		return nil
	}
	wanted, missing, err := s.findApplications(ctx)
	if err != nil {
		return err
	}
	if err := r.rememberApplications(ctx, s, wanted); err != nil {
		return err
	}
	for _, app := range wanted {
		if err := s.link(ctx, app.ID, app.Identifier, false); err != nil {
			return err
		}
	}
	if err := s.unlinkUndeclared(ctx); err != nil {
		return err
	}
	if len(missing) > 0 {
		return problem.NeedsPerson(v1alpha1.ReasonApplicationNotFound,
			"the zone has no application with the identifier %s; register it in the zone, or remove it from spec.applications", strings.Join(missing, ", "))
	}
	return nil
}

// findApplications looks the applications of the spec up, and names those that the zone does not have.
func (s *scope) findApplications(ctx context.Context) (found []v1alpha1.ApplicationStatus, missing []string, err error) {
	for _, ref := range s.resource.Spec.Applications {
		app, there, err := s.zone.FindApplication(ctx, s.zoneID(), ref.Identifier)
		switch {
		case err != nil:
			return nil, nil, problem.Remote(err)
		case there:
			found = append(found, v1alpha1.ApplicationStatus{Identifier: ref.Identifier, ID: app.ID})
		default:
			missing = append(missing, ref.Identifier)
		}
	}
	return found, missing, nil
}

// rememberApplications writes into status what is about to be given the dependency, before it is: otherwise a crash
// in between would leave a dependency that nobody takes back. What is no longer declared stays until it is taken back.
func (r *Reconciler) rememberApplications(ctx context.Context, s *scope, wanted []v1alpha1.ApplicationStatus) error {
	if s.observing() {
		return nil
	}
	list := slices.Clone(wanted)
	for _, known := range s.resource.Status.Applications {
		if !slices.ContainsFunc(wanted, func(a v1alpha1.ApplicationStatus) bool { return a.Identifier == known.Identifier }) {
			list = append(list, known)
		}
	}
	slices.SortFunc(list, func(a, b v1alpha1.ApplicationStatus) int { return strings.Compare(a.Identifier, b.Identifier) })
	if slices.Equal(list, s.resource.Status.Applications) {
		return nil
	}
	s.resource.Status.Applications = list
	return r.patchStatus(ctx, s)
}

// missing names a field that differs, but of an application that was just made.
func missing(field string, fresh bool) []string {
	if fresh {
		return nil
	}
	return []string{field}
}

// link gives an application the resource as a dependency, unless it has it. A fresh application has none yet. One that
// holds only while the application accesses certain resources would refuse it tokens at other times.
func (s *scope) link(ctx context.Context, id, name string, fresh bool) error {
	have, found, err := s.zone.FindDependency(ctx, s.zoneID(), id, s.resource.Status.ResourceID)
	field := "dependency"
	switch {
	case err != nil, found && len(have.WhenAccessing) == 0:
		return problem.Remote(err)
	case found:
		field = "whenAccessing"
	}
	log.FromContext(ctx).Info("adding the dependency", "application", name)
	return s.change(stepApplications, "application "+name, missing(field, fresh), func() error {
		return s.zone.PutDependency(ctx, s.zoneID(), id, s.resource.Status.ResourceID)
	})
}

// unlinkUndeclared takes the dependency from the applications that left the spec. That is no drift.
func (s *scope) unlinkUndeclared(ctx context.Context) error {
	if s.observing() {
		return nil
	}
	declared := func(a v1alpha1.ApplicationStatus) bool {
		return slices.Contains(s.resource.Spec.Applications, v1alpha1.ApplicationReference{Identifier: a.Identifier})
	}
	for _, known := range s.resource.Status.Applications {
		if declared(known) {
			continue
		}
		log.FromContext(ctx).Info("removing the dependency", "application", known.Identifier)
		if err := s.zone.DeleteDependency(ctx, s.zoneID(), known.ID, s.resource.Status.ResourceID); err != nil {
			return problem.Remote(err)
		}
	}
	s.resource.Status.Applications = slices.DeleteFunc(slices.Clone(s.resource.Status.Applications), func(a v1alpha1.ApplicationStatus) bool { return !declared(a) })
	return nil
}

// removeApplications takes back what ensureApplications gave, before the resource is deleted. resourceID is empty when it
// is not known any more: then applications that are left without any dependency go.
func (r *Reconciler) removeApplications(ctx context.Context, s *scope, resourceID string) error {
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	for _, known := range s.resource.Status.Applications {
		if err := s.zone.DeleteDependency(ctx, s.zoneID(), known.ID, resourceID); err != nil {
			return problem.Remote(err)
		}
	}
	if len(r.ConsentRedirectURIs) > 0 || s.resource.Status.ConsentClientID != "" {
		if err := s.removeConsent(ctx, resourceID); err != nil {
			return problem.Remote(err)
		}
	}
	return s.removeWorkloads(ctx, resourceID, nil)
}
