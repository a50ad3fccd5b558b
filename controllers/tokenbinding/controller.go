// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tokenbinding reconciles ConfluenceTokenBindings. It gathers facts, takes a step of internal/refresh, does what the step
// says until the step says to report, and writes status.
//
// What the schedule remembers is in the Secret's annotations, written together with the token. A look that finds nothing to do makes
// no remote call and no write.
package tokenbinding

import (
	"context"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/metrics"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/site"
	"github.com/keycardai/keycard-operator/internal/status"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/target"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
	"github.com/keycardai/keycard-operator/internal/watchdog"
)

// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/status,verbs=patch
// Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs this.
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/finalizers,verbs=update
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources,verbs=list;watch
// Inputs are read by name when they are needed; outputs are applied. RBAC can't tell the two apart.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch
// RBAC can't say for which ServiceAccounts tokens may be requested without naming each: the code does, and requests them only
// for what a binding names in its own namespace.
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create
// The labels of namespaces decide over allowedNamespaces with a selector.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Deps are what a Controller is made of. All fields but ConsentURL have to be set.
type Deps struct {
	// Client reads from the caches and writes.
	Client client.Client
	// Live reads from the server: values of Secrets are never cached.
	Live client.Reader
	// LiveNamespaces is for an operator that may not watch namespaces, because its permissions are Roles in some.
	LiveNamespaces bool
	// Zones hands out clients of zones.
	Zones *keycard.Pool
	// Targets finds what bindings exchange for, and Sites where their tokens work.
	Targets *target.Finder
	Sites   *site.Finder
	// Recorder records events.
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Gates stand before the zones, and LookUps before the management APIs where users are looked up.
	Gates, LookUps *throttle.Gates
	// ConsentURL is where browsers reach the consent page; nil when there is none.
	ConsentURL *url.URL
}

// Controller keeps ConfluenceTokenBindings. Make one with New.
type Controller struct {
	Deps
	subjects *subject.Subjects
	secrets  *tokensecret.Store
	metrics  *metrics.Zones
	memories memories
	// queue takes bindings that are to be looked at; it is there once the controller runs.
	queue atomic.Pointer[queue]
}

// New returns a Controller.
func New(deps Deps) *Controller {
	namespaces := client.Reader(deps.Client)
	if deps.LiveNamespaces {
		namespaces = deps.Live
	}
	return &Controller{
		Deps:     deps,
		subjects: subject.New(subject.Deps{Client: deps.Client, Live: deps.Live, Zones: deps.Zones, Clock: deps.Clock}),
		secrets:  tokensecret.New(deps.Client, deps.Live, namespaces),
		metrics:  metrics.New(),
	}
}

// Reconcile brings the Secret and the status of one binding up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx = keycard.WithCaller(ctx, keycard.Caller{
		Object: "ConfluenceTokenBinding " + req.String(), CorrelationID: string(controller.ReconcileIDFromContext(ctx)),
	})
	var cached v1alpha1.ConfluenceTokenBinding
	if err := c.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !cached.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the Secret goes with its owner; there is nothing to undo
	}
	s := c.scope(&cached)
	if s.before.Status.ObservedGeneration == 0 {
		// Tools that wait for the object take one without a status for ready, so it gets one at once.
		s.progressing()
		if err := c.patchStatus(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	action, err := c.act(ctx, s, c.gather(ctx, s))
	if err != nil {
		return ctrl.Result{}, err
	}
	if !action.Quiet {
		c.report(s, action)
		if err := c.patchStatus(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
		c.announce(s)
	}
	return c.result(s, action), nil
}

// result remembers when to wake the binding.
func (c *Controller) result(s *scope, a refresh.Action) ctrl.Result {
	c.memories.note(s.memory, a.Wake.Round(0))
	result := ctrl.Result{Priority: new(a.Priority)}
	if !a.Wake.IsZero() {
		result.RequeueAfter = max(a.Wake.Sub(c.Clock.Now()), time.Millisecond)
	}
	return result
}

// Metrics returns what is counted of the zones and their gates.
func (c *Controller) Metrics() []prometheus.Collector { return c.metrics.Collectors(c.Gates) }

// Overdue reports whether a token should have been refreshed more than a minute before now, whatever the reason. It is not where
// the zone was asked and has no newer one yet.
func (c *Controller) Overdue(b *v1alpha1.ConfluenceTokenBinding, now time.Time) bool {
	return watchdog.Overdue(b, now) && !c.memories.waitsForNewer(client.ObjectKeyFromObject(b), now)
}

// forget drops what is remembered of a binding that is gone.
func (c *Controller) forget(key types.NamespacedName) {
	c.memories.forget(key)
	c.Gates.Withdraw(key.String())
	c.LookUps.Withdraw(key.String())
}

// patchStatus writes the status if it changed.
func (c *Controller) patchStatus(ctx context.Context, s *scope) error {
	written, changed, err := status.Patch(ctx, c.Client, s.before, s.binding)
	if err != nil || !changed {
		return err
	}
	s.memory.binding.Wrote(written)
	s.before, s.binding = written, written.DeepCopy()
	return nil
}
