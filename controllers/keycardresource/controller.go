// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keycardresource reconciles KeycardResources: it registers an upstream's OAuth app as a
// provider and the upstream's API as a resource in a Keycard zone, and removes them again where
// that is wanted.
//
// Objects in the zone are found by their identifier and owned by a marker in their description.
// Nothing is created before it was looked for, so a crash at any moment leaves exactly one of each.
package keycardresource

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/access"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/remote"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/internal/status"
)

// The finalizer is the only thing that is ever written to the object itself, and only for
// deletionPolicy Delete: that takes patch on the resource.
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources,verbs=list;watch;patch
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources/status,verbs=patch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// A private zone's certificate authority may be in a ConfigMap.
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// The labels of namespaces decide over allowedNamespaces with a selector, and their deletion over
// how long to wait.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Deps are what a Controller needs. All have to be set but ConsentRedirectURIs and LiveNamespaces.
type Deps struct {
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
	// CheckEvery is how often an install is compared with the zone, where people can change it.
	CheckEvery time.Duration
	// ConsentRedirectURIs are where people come back to after they consented; see access.Deps.
	ConsentRedirectURIs []string
	// LiveNamespaces is for an operator that may not watch namespaces.
	LiveNamespaces bool
}

// Controller keeps KeycardResources.
type Controller struct {
	deps         Deps
	applications *access.Applications
	zones        remote.Zones
	// memories has the *memory of each install.
	memories sync.Map
}

// New makes a Controller.
func New(d Deps) *Controller {
	c := &Controller{deps: d}
	c.applications = access.New(access.Deps{
		Cached: d.Client, Namespaces: c.namespaces(), ClusterIssuer: d.ClusterIssuer,
		ConsentRedirectURIs: d.ConsentRedirectURIs, SeesSome: d.LiveNamespaces,
	})
	return c
}

// Reconcile brings the zone and one resource's status up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx = keycard.WithCaller(ctx, keycard.Caller{
		Object: "KeycardResource " + req.String(), CorrelationID: string(controller.ReconcileIDFromContext(ctx)),
	})
	var cached v1alpha1.KeycardResource
	if err := c.deps.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		c.memories.Delete(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := c.begin(&cached)
	if !s.before.DeletionTimestamp.IsZero() {
		return c.finalize(ctx, s)
	}
	if s.before.Status.ObservedGeneration == 0 {
		// Tools that wait for the object take one without a status for ready.
		s.progressing()
		if err := s.Save(ctx); err != nil {
			return ctrl.Result{}, err
		}
	}
	at, err := c.run(ctx, s)
	if err != nil && ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err() // told to stop: nothing failed but the attempt
	}
	p := problemOf(ctx, err)
	s.report(at, p)
	if err := s.Save(ctx); err != nil {
		return ctrl.Result{}, err
	}
	c.announce(s)
	c.announceDrift(s)
	return ctrl.Result{RequeueAfter: c.nextWake(s, p)}, nil
}

// begin gathers what is known of an install.
func (c *Controller) begin(cached *v1alpha1.KeycardResource) *scope {
	known, _ := c.memories.LoadOrStore(client.ObjectKeyFromObject(cached), &memory{})
	m, _ := known.(*memory)
	s := newScope(m.written.Newest(cached), &c.zones, c.deps.Clock.Now(), c.deps.ClusterID)
	s.memory = m
	s.Save = func(ctx context.Context) error { return c.patchStatus(ctx, s) }
	return s
}

// run takes the steps in order, and stops at the first that can't go on.
func (c *Controller) run(ctx context.Context, s *scope) (step, error) {
	if s.suspended() {
		return "", nil
	}
	steps := []struct {
		at step
		do func(context.Context, *scope) error
	}{
		{stepPlan, c.plan},
		{stepCredentials, c.enterZone},
		{stepCredentials, c.readOAuthApp},
		{stepProvider, c.ensureFinalizer},
		{stepProvider, c.ensureProvider},
		{stepResource, c.ensureResource},
		// What is forbidden is in force before anyone gets access.
		{stepPolicies, func(ctx context.Context, s *scope) error { return access.EnsurePolicies(ctx, &s.Install) }},
		{stepApplications, func(ctx context.Context, s *scope) error { return c.applications.Ensure(ctx, &s.Install) }},
	}
	for _, st := range steps {
		if err := st.do(ctx, s); err != nil {
			return st.at, err
		}
	}
	return "", nil
}

// problemOf gives the problem that an error is, and logs what a problem does not show.
func problemOf(ctx context.Context, err error) *problem.Problem {
	p := problem.Of(err)
	if p != nil && p.Reason == v1alpha1.ReasonClusterError {
		log.FromContext(ctx).Error(err, "the cluster failed")
	}
	return p
}

// nextWake is when to try again, or to compare with the zone again.
func (c *Controller) nextWake(s *scope, p *problem.Problem) time.Duration {
	switch {
	case s.suspended():
		return 0
	case p == nil:
		s.memory.failures = 0
		return refresh.Jittered(c.deps.CheckEvery, string(s.before.UID), s.Now)
	}
	s.memory.failures++
	return refresh.Pause(p, s.memory.failures, 0, string(s.before.UID))
}

// patchStatus writes the status if it changed.
func (c *Controller) patchStatus(ctx context.Context, s *scope) error {
	written, changed, err := status.Patch(ctx, c.deps.Client, s.before, s.Object)
	if err != nil || !changed {
		return err
	}
	s.memory.written.Wrote(written)
	s.before, s.Object = written, written.DeepCopy()
	return nil
}
