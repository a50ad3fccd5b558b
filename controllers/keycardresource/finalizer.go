// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/access"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// How long a deletion waits for a zone that can't be entered before it gives up, so that it never
// wedges a namespace: short when the cause lasts (the credentials are gone, or refused), longer
// when it may pass.
const (
	giveUpLasting = 30 * time.Second
	giveUpPassing = 5 * time.Minute
	// leastAttempts is how often it is tried at least, and leastWait how long between.
	leastAttempts = 3
	leastWait     = 5 * time.Second
	// waitForUsers is how long a deletion waits for bindings that still use the resource.
	waitForUsers = 30 * time.Second
)

// ensureFinalizer puts the finalizer on before anything is written to the zone, and takes it off
// when the objects shall stay. Retain never has one.
func (c *Controller) ensureFinalizer(ctx context.Context, s *scope) error {
	wanted := s.removes()
	if controllerutil.ContainsFinalizer(s.before, v1alpha1.Finalizer) == wanted {
		return nil
	}
	return c.patchFinalizer(ctx, s, wanted)
}

// removes reports whether the objects in the zone go with this one.
func (s *scope) removes() bool {
	return s.Object.Spec.DeletionPolicy == v1alpha1.DeletionDelete && !s.Zone.Observing
}

// patchFinalizer writes the list of finalizers and nothing else, unless someone changed it.
func (c *Controller) patchFinalizer(ctx context.Context, s *scope, wanted bool) error {
	changed := s.before.DeepCopy()
	if wanted {
		controllerutil.AddFinalizer(changed, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := c.deps.Client.Patch(ctx, changed, patch, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return problem.Cluster("writing the finalizer", err)
	}
	s.memory.written.Wrote(changed)
	status := s.Object.Status
	s.before, s.Object = changed, changed.DeepCopy()
	s.Object.Status = status
	return nil
}

// finalize removes from the zone what the spec wants removed, and lets the object go.
func (c *Controller) finalize(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(s.before, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	switch {
	case !s.removes(): // changed a moment ago
	case s.suspended():
		c.orphan(s, "spec.suspend is true")
	default:
		if wait, err := c.remove(ctx, s); err != nil || wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, err
		}
	}
	if err := c.patchFinalizer(ctx, s, false); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

// remove removes the objects from the zone, or gives up; wait is when to call it again, 0 for
// never.
func (c *Controller) remove(ctx context.Context, s *scope) (wait time.Duration, err error) {
	hurried := namespaces.Ending(ctx, c.namespaces(), s.Object.Namespace)
	if wait, err := c.awaitUsers(ctx, s, hurried); err != nil || wait > 0 {
		return wait, err
	}
	p := problemOf(ctx, c.removeObjects(ctx, s))
	if p == nil {
		log.FromContext(ctx).Info("removed the objects in the zone")
		return 0, nil
	}
	s.memory.removals++
	if s.givesUp(p, hurried) {
		log.FromContext(ctx).Info("gave up removing objects from the zone", "provider", s.before.Status.ProviderID, "resource", s.before.Status.ResourceID, "reason", p.Reason)
		c.orphan(s, p.Reason)
		return 0, nil
	}
	s.held(problem.Removing(p))
	return s.removeAgain(p), s.Save(ctx)
}

// removeAgain is when to try to remove the objects again: after the pause that the zone asked for,
// soon enough to give up in time otherwise.
func (s *scope) removeAgain(p *problem.Problem) time.Duration {
	wait := max(refresh.Pause(p, s.memory.removals, 0, string(s.before.UID)), leastWait)
	switch {
	case p.Kind == problem.KindThrottled:
		return min(wait, giveUpPassing)
	case p.Passes():
		return min(wait, giveUpLasting)
	}
	return min(wait, giveUpLasting/leastAttempts)
}

// awaitUsers gives bindings that are deleted along with the install the time to go first.
func (c *Controller) awaitUsers(ctx context.Context, s *scope, hurried bool) (time.Duration, error) {
	left := waitForUsers - s.Now.Sub(s.before.DeletionTimestamp.Time)
	if hurried || left <= 0 {
		return 0, nil
	}
	users, err := index.Users(ctx, c.deps.Client, s.Key())
	if err != nil || len(users) == 0 {
		return 0, err
	}
	s.held(inUse(users))
	if err := s.Save(ctx); err != nil {
		return 0, err
	}
	c.announce(s)
	return min(left, leastWait), nil
}

// orphan says which objects stay in the zone.
func (c *Controller) orphan(s *scope, why string) {
	c.deps.Recorder.Eventf(s.before, nil, corev1.EventTypeWarning, v1alpha1.EventOrphaned, "Delete",
		"provider %q and resource %q stay in zone %s: %s", s.before.Status.ProviderID, s.before.Status.ResourceID, s.Zone.ID, why)
}

// givesUp reports whether the deletion has waited long enough, and was tried often enough by this
// process: an operator that was down meanwhile has not tried.
func (s *scope) givesUp(p *problem.Problem, hurried bool) bool {
	wait := giveUpLasting
	if p.Passes() && !hurried {
		wait = giveUpPassing
	}
	return s.memory.removals >= leastAttempts && s.Now.Sub(s.before.DeletionTimestamp.Time) >= wait
}

// removeObjects deletes the resource and then the provider, as far as they are ours. The provider
// stays while another resource of the upstream uses it.
func (c *Controller) removeObjects(ctx context.Context, s *scope) error {
	if err := c.findEntry(s); err != nil {
		return err
	}
	if err := c.enterAgain(ctx, s); err != nil {
		return err
	}
	if err := c.removeResource(ctx, s); err != nil {
		return err
	}
	// What is forbidden stays so until no one has access.
	if err := access.RemovePolicies(ctx, &s.Install); err != nil {
		return err
	}
	return c.removeProvider(ctx, s)
}

// removeResource removes the resource when it is ours, and the applications around it. Who deleted
// it in the zone left those; who took it over has them too.
func (c *Controller) removeResource(ctx context.Context, s *scope) error {
	have, standing, err := remote.Find(ctx, s.Zone, remote.Resources, s.entry.Resource.Identifier, s.Marker())
	if err != nil {
		return err
	}
	known := s.Object.Status.ResourceID
	switch {
	case standing == remote.Managed:
		if err := c.applications.Remove(ctx, &s.Install, have.ID); err != nil {
			return err
		}
		return remote.Delete(ctx, s.Zone, remote.Resources, have, s.Marker())
	case standing == remote.Foreign && (known == "" || known == have.ID):
		return nil
	}
	return c.applications.Remove(ctx, &s.Install, known)
}

// removeProvider removes the provider when it is ours and no resource uses it.
func (c *Controller) removeProvider(ctx context.Context, s *scope) error {
	unlock, err := s.Zone.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	provider, standing, err := remote.Find(ctx, s.Zone, remote.Providers, s.entry.Provider.Identifier, s.Marker())
	if err != nil || standing != remote.Managed {
		return err
	}
	users, err := s.Zone.ListResourcesByProvider(ctx, s.Zone.ID, provider.ID)
	if err != nil || len(users) > 0 {
		return err
	}
	return remote.Delete(ctx, s.Zone, remote.Providers, provider, s.Marker())
}

// enterAgain enters the zone, with the credential that it accepted before where the Secret is gone
// already: in a namespace that is being deleted nothing has an order.
func (c *Controller) enterAgain(ctx context.Context, s *scope) error {
	err := c.enterZone(ctx, s)
	p := problem.Of(err)
	if p == nil || p.Kind != problem.KindWaiting || s.memory.management == nil {
		return err
	}
	s.Zone.Enter(s.memory.management)
	return nil
}
