// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keycardresource reconciles KeycardResources: it registers an upstream's OAuth app as a provider
// and the upstream's API as a resource in a Keycard zone, and removes them again where that is wanted.
//
// Objects in the zone are found by their identifier and owned by a marker in their description. Nothing
// is created before it was looked for, so a crash at any moment leaves exactly one of each.
package keycardresource

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/internal/status"
)

// The finalizer is the only thing that is ever written to the object itself, and only for deletionPolicy
// Delete: that takes patch on the resource.
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources,verbs=list;watch;patch
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources/status,verbs=patch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// A private zone's certificate authority may be in a ConfigMap.
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// The labels of namespaces decide over allowedNamespaces with a selector, and their deletion over how long to wait.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler keeps KeycardResources. All fields have to be set but the last two.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Secrets tells of changes of Secrets.
	Secrets *secretcache.Cache
	// Live reads from the server: values of Secrets are never cached.
	Live client.Reader
	// Zones hands out clients of the management API.
	Zones   *keycard.Pool
	Catalog catalog.Catalog
	// ClusterIssuer asks the cluster for the issuer of its ServiceAccounts' tokens.
	ClusterIssuer func(context.Context) (string, error)
	// ClusterID tells this cluster's objects in a zone from those of another cluster.
	ClusterID string
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	// CheckEvery is how often a registered resource is compared with the zone, where people can change it.
	CheckEvery time.Duration
	// ConsentRedirectURIs are where people come back to after they consented. The application that they sign in to is
	// registered in the zone with them; without any, there is none.
	ConsentRedirectURIs []string
	// LiveNamespaces is for an operator that may not watch namespaces.
	LiveNamespaces bool

	// zoneLocks are held while something is changed that several resources share in a zone.
	zoneLocks keyedMutex
	// entered are the clients that a zone has accepted. A deletion goes on with them when the Secret is gone.
	entered   sync.Map
	resources ownwrites.Objects[*v1alpha1.KeycardResource]
	// failures counts failed attempts to install, removals failed attempts to remove.
	failures, removals failures
}

// Reconcile brings the zone and one resource's status up to date.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx = keycard.WithCaller(ctx, keycard.Caller{
		Object: "KeycardResource " + req.String(), CorrelationID: string(controller.ReconcileIDFromContext(ctx)),
	})
	var cached v1alpha1.KeycardResource
	if err := r.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		r.failures.forget(req.NamespacedName)
		r.removals.forget(req.NamespacedName)
		r.resources.Forget(req.NamespacedName)
		r.entered.Delete(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := newScope(r.resources.Newest(req.NamespacedName, &cached), r.Clock.Now(), r.ClusterID)
	if !s.before.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, s)
	}
	if s.before.Status.ObservedGeneration == 0 {
		// Tools that wait for the object take one without a status for ready, so it gets one at once.
		s.progressing()
		if err := r.patchStatus(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	at, err := r.run(ctx, s)
	if err != nil && ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err() // told to stop: nothing failed but the attempt
	}
	p := problemOf(ctx, err)
	s.report(at, p)
	if err := r.patchStatus(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	r.announce(s)
	r.announceDrift(s)
	return ctrl.Result{RequeueAfter: r.nextWake(s, p)}, nil
}

// run takes the steps in order, and stops at the first that can't go on.
func (r *Reconciler) run(ctx context.Context, s *scope) (step, error) {
	if s.suspended() {
		return "", nil
	}
	steps := []struct {
		at step
		do func(context.Context, *scope) error
	}{
		{stepPlan, r.plan},
		{stepCredentials, r.enterZone},
		{stepCredentials, r.readOAuthApp},
		{stepProvider, r.ensureFinalizer},
		{stepProvider, r.ensureProvider},
		{stepResource, r.ensureResource},
		// What is forbidden is in force before anybody gets access.
		{stepPolicies, r.ensurePolicies},
		{stepApplications, r.ensureApplications},
	}
	for _, st := range steps {
		if err := st.do(ctx, s); err != nil {
			return st.at, err
		}
	}
	return "", nil
}

func asProblem(err error) (*problem.Problem, bool) {
	var p *problem.Problem
	ok := errors.As(err, &p)
	return p, ok
}

// problemOf gives the problem that an error is, or makes one of a failure of the cluster.
func problemOf(ctx context.Context, err error) *problem.Problem {
	p, ok := asProblem(err)
	if err != nil && !ok {
		log.FromContext(ctx).Error(err, "the cluster failed")
		p = problem.FromCluster(err)
	}
	return p
}

// nextWake is when to try again, or to compare with the zone again.
func (r *Reconciler) nextWake(s *scope, p *problem.Problem) time.Duration {
	switch {
	case s.suspended():
		return 0
	case p == nil:
		r.failures.forget(s.key())
		return refresh.Jittered(r.CheckEvery, string(s.before.UID), s.now)
	}
	return refresh.Pause(p, r.failures.count(s.key()), 0, string(s.before.UID))
}

// patchStatus writes the status if it changed.
func (r *Reconciler) patchStatus(ctx context.Context, s *scope) error {
	written, changed, err := status.Patch(ctx, r.Client, s.before, s.resource)
	if err != nil || !changed {
		return err
	}
	r.resources.Wrote(s.key(), written)
	s.before, s.resource = written, written.DeepCopy()
	return nil
}
