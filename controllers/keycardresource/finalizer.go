// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// How long a deletion waits for a zone that can't be entered before it gives up, so that it never
// wedges a namespace: short when the cause lasts (the credentials are gone, or refused), longer when
// it may pass.
const (
	giveUpLasting = 30 * time.Second
	giveUpPassing = 5 * time.Minute
	// leastAttempts is how often it is tried at least, and leastWait how long between.
	leastAttempts = 3
	leastWait     = 5 * time.Second
)

// ensureFinalizer puts the finalizer on before anything is written to the zone, and takes it off when
// the objects shall stay. Retain never has one.
func (r *Reconciler) ensureFinalizer(ctx context.Context, s *scope) error {
	wanted := s.resource.Spec.DeletionPolicy == v1alpha1.DeletionDelete
	if controllerutil.ContainsFinalizer(s.before, v1alpha1.Finalizer) == wanted {
		return nil
	}
	return r.patchFinalizer(ctx, s, wanted)
}

// patchFinalizer writes the list of finalizers and nothing else, on condition that nobody changed it.
func (r *Reconciler) patchFinalizer(ctx context.Context, s *scope, wanted bool) error {
	changed := s.before.DeepCopy()
	if wanted {
		controllerutil.AddFinalizer(changed, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("writing the finalizer: %w", err)
	}
	r.resources.Wrote(s.key(), changed)
	status := s.resource.Status
	s.before, s.resource = changed, changed.DeepCopy()
	s.resource.Status = status
	return nil
}

// finalize removes from the zone what the operator created there, as far as the spec still wants that, and
// lets the object go.
func (r *Reconciler) finalize(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(s.before, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	switch {
	case s.resource.Spec.DeletionPolicy != v1alpha1.DeletionDelete: // changed a moment ago
	case s.suspended():
		r.orphan(s, "spec.suspend is true")
	default:
		problem := problemOf(ctx, r.removeObjects(ctx, s))
		if problem == nil {
			log.FromContext(ctx).Info("removed the objects in the zone")
			break
		}
		if attempts := r.failures.count(s.key()); !s.givesUp(problem, attempts) {
			s.deleting(problem)
			wait := min(max(problem.Retry(attempts, 0, string(s.before.UID)), leastWait), giveUpLasting)
			return ctrl.Result{RequeueAfter: wait}, r.patchStatus(ctx, s)
		}
		r.orphan(s, problem.Reason)
	}
	if err := r.patchFinalizer(ctx, s, false); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

// orphan says which objects stay in the zone.
func (r *Reconciler) orphan(s *scope, why string) {
	r.Recorder.Eventf(s.before, nil, corev1.EventTypeWarning, v1alpha1.EventOrphaned, "Delete",
		"provider %q and resource %q stay in zone %s: %s", s.before.Status.ProviderID, s.before.Status.ResourceID, s.zoneID(), why)
}

// givesUp tells whether the deletion has waited long enough, and was tried often enough by this process: an
// operator that was down meanwhile has not tried.
func (s *scope) givesUp(problem *outcome.Problem, attempts int) bool {
	wait := giveUpLasting
	if problem.Passes() {
		wait = giveUpPassing
	}
	return attempts >= leastAttempts && s.now.Sub(s.before.DeletionTimestamp.Time) >= wait
}

// removeObjects deletes the resource and then the provider, as far as they are ours. The provider stays
// while another resource of the upstream uses it.
func (r *Reconciler) removeObjects(ctx context.Context, s *scope) error {
	if err := r.findEntry(s); err != nil {
		return err
	}
	if err := r.enterZone(ctx, s); err != nil {
		return err
	}
	resource, found, err := s.zone.FindResource(ctx, s.zoneID(), s.entry.Resource.Identifier)
	if err == nil && found && s.owns(resource.Description) {
		err = s.zone.DeleteResource(ctx, s.zoneID(), resource.ID)
	}
	if err != nil {
		return outcome.Remote(err)
	}
	provider, found, err := s.zone.FindProvider(ctx, s.zoneID(), s.entry.Provider.Identifier)
	if err != nil || !found || !s.owns(provider.Description) {
		return outcome.Remote(err)
	}
	users, err := s.zone.ListResourcesByProvider(ctx, s.zoneID(), provider.ID)
	if err == nil && len(users) == 0 {
		err = s.zone.DeleteProvider(ctx, s.zoneID(), provider.ID)
	}
	return outcome.Remote(err)
}
