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
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
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
	// waitForUsers is how long a deletion waits for bindings that still use the resource.
	waitForUsers = 30 * time.Second
)

// ensureFinalizer puts the finalizer on before anything is written to the zone, and takes it off when
// the objects shall stay. Retain never has one.
func (r *Reconciler) ensureFinalizer(ctx context.Context, s *scope) error {
	wanted := s.removes()
	if controllerutil.ContainsFinalizer(s.before, v1alpha1.Finalizer) == wanted {
		return nil
	}
	return r.patchFinalizer(ctx, s, wanted)
}

// removes tells whether the objects in the zone go with this one.
func (s *scope) removes() bool {
	return s.resource.Spec.DeletionPolicy == v1alpha1.DeletionDelete && !s.observing()
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
	case !s.removes(): // changed a moment ago
	case s.suspended():
		r.orphan(s, "spec.suspend is true")
	default:
		if wait, err := r.remove(ctx, s); err != nil || wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, err
		}
	}
	if err := r.patchFinalizer(ctx, s, false); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

// remove removes the objects from the zone, or gives up; wait is how long until it is to be called again, 0 when the
// object may go.
func (r *Reconciler) remove(ctx context.Context, s *scope) (wait time.Duration, err error) {
	hurried := namespaces.Ending(ctx, r.namespaces(), s.resource.Namespace)
	if wait, err := r.awaitUsers(ctx, s, hurried); err != nil || wait > 0 {
		return wait, err
	}
	p := problemOf(ctx, r.removeObjects(ctx, s))
	if p == nil {
		log.FromContext(ctx).Info("removed the objects in the zone")
		return 0, nil
	}
	attempts := r.removals.count(s.key())
	if s.givesUp(p, attempts, hurried) {
		log.FromContext(ctx).Info("gave up removing objects from the zone", "provider", s.before.Status.ProviderID, "resource", s.before.Status.ResourceID, "reason", p.Reason)
		r.orphan(s, p.Reason)
		return 0, nil
	}
	s.deleting(p)
	return s.removeAgain(p, attempts), r.patchStatus(ctx, s)
}

// removeAgain is when to try to remove the objects again: after the pause that the zone asked for, soon enough to give
// up in time otherwise.
func (s *scope) removeAgain(p *problem.Problem, attempts int) time.Duration {
	wait := max(refresh.Pause(p, attempts, 0, string(s.before.UID)), leastWait)
	switch {
	case p.Kind == problem.KindThrottled:
		return min(wait, giveUpPassing)
	case p.Passes():
		return min(wait, giveUpLasting)
	}
	return min(wait, giveUpLasting/leastAttempts)
}

// awaitUsers gives bindings that are deleted along with the resource the time to go first, and says so.
func (r *Reconciler) awaitUsers(ctx context.Context, s *scope, hurried bool) (time.Duration, error) {
	left := waitForUsers - s.now.Sub(s.before.DeletionTimestamp.Time)
	if hurried || left <= 0 {
		return 0, nil
	}
	users, err := r.bindingsOf(ctx, s)
	if err != nil || len(users) == 0 {
		return 0, err
	}
	s.inUse(users)
	if err := r.patchStatus(ctx, s); err != nil {
		return 0, err
	}
	r.announce(s)
	return min(left, leastWait), nil
}

// orphan says which objects stay in the zone.
func (r *Reconciler) orphan(s *scope, why string) {
	r.Recorder.Eventf(s.before, nil, corev1.EventTypeWarning, v1alpha1.EventOrphaned, "Delete",
		"provider %q and resource %q stay in zone %s: %s", s.before.Status.ProviderID, s.before.Status.ResourceID, s.zoneID(), why)
}

// givesUp tells whether the deletion has waited long enough, and was tried often enough by this process: an
// operator that was down meanwhile has not tried.
func (s *scope) givesUp(p *problem.Problem, attempts int, hurried bool) bool {
	wait := giveUpLasting
	if p.Passes() && !hurried {
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
	if err := r.enterAgain(ctx, s); err != nil {
		return err
	}
	if err := r.removeResource(ctx, s); err != nil {
		return err
	}
	// What is forbidden stays so until nobody has access.
	if err := r.removePolicies(ctx, s); err != nil {
		return err
	}
	return r.removeProvider(ctx, s)
}

// removeResource removes the resource when it is ours, and the applications around it. Who deleted it in the zone left
// those; who took it over has them too.
func (r *Reconciler) removeResource(ctx context.Context, s *scope) error {
	have, found, err := s.zone.FindResource(ctx, s.zoneID(), s.entry.Resource.Identifier)
	if err != nil {
		return problem.Remote(err)
	}
	if found && s.owns(have.Description) {
		if err := r.removeApplications(ctx, s, have.ID); err != nil {
			return err
		}
		return problem.Remote(s.zone.DeleteResource(ctx, s.zoneID(), have.ID))
	}
	known := s.resource.Status.ResourceID
	if found && (known == "" || known == have.ID) {
		return nil
	}
	return r.removeApplications(ctx, s, known)
}

// removeProvider removes the provider when it is ours and no resource uses it.
func (r *Reconciler) removeProvider(ctx context.Context, s *scope) error {
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	provider, found, err := s.zone.FindProvider(ctx, s.zoneID(), s.entry.Provider.Identifier)
	if err != nil || !found || !s.owns(provider.Description) {
		return problem.Remote(err)
	}
	users, err := s.zone.ListResourcesByProvider(ctx, s.zoneID(), provider.ID)
	if err == nil && len(users) == 0 {
		err = s.zone.DeleteProvider(ctx, s.zoneID(), provider.ID)
	}
	return problem.Remote(err)
}

// enterAgain enters the zone, with the credential that it accepted before where the Secret is gone already: in a
// namespace that is being deleted nothing has an order.
func (r *Reconciler) enterAgain(ctx context.Context, s *scope) error {
	err := r.enterZone(ctx, s)
	p, ok := asProblem(err)
	if !ok || p.Kind != problem.KindWaiting {
		return err
	}
	known, there := r.entered.Load(s.key())
	if zone, isClient := known.(*keycard.ManagementClient); there && isClient {
		s.zone = zone
		return nil
	}
	return err
}
