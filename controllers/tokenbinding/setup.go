// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/watchdog"
)

// queue is the controller's work queue.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager registers the controller and its watches. secrets tells of changes of Secrets. watchEvery is how
// often the watchdog looks; 0 means every 30 seconds.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, secrets *secretcache.Cache, concurrency int, watchEvery time.Duration) error {
	watch := func(ctx context.Context, q queue) error {
		dog := watchdog.Watchdog{Reader: c.Client, Clock: c.Clock, Wake: c.memories.wake, Look: func(key types.NamespacedName, priority int) {
			c.metrics.Rescued()
			enqueue(q, key, priority)
		}}
		go dog.Run(log.IntoContext(ctx, mgr.GetLogger()), mgr.Elected(), cmp.Or(watchEvery, watchdog.Every))
		return nil
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("confluencetokenbinding").
		// Labels and annotations of a binding, and its own status, change nothing: GitOps tools write them all the time. One
		// annotation is a request.
		For(&v1alpha1.ConfluenceTokenBinding{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, requestChanged))).
		// The other bindings of a Secret may have waited for one to go.
		Watches(&v1alpha1.ConfluenceTokenBinding{}, handler.EnqueueRequestsFromMapFunc(c.siblings), builder.WithPredicates(onlyDeleted)).
		WatchesRawSource(secrets.Source(c.inNamespaceOf(index.Secret))).
		// A ServiceAccount matters when it appears: nothing of it is read.
		WatchesMetadata(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(c.inNamespaceOf(index.Account)), builder.WithPredicates(onlyCreated)).
		Watches(&v1alpha1.KeycardResource{}, handler.EnqueueRequestsFromMapFunc(c.ofResource)).
		WatchesRawSource(source.Func(c.answerCalls)).
		WatchesRawSource(source.Func(watch)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			// For errors of status writes, which are all that is left to controller-runtime.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		})
	if !c.LiveNamespaces {
		b.WatchesMetadata(namespaces.Metadata(), handler.EnqueueRequestsFromMapFunc(c.ofNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return b.Complete(c)
}

// requestChanged lets updates pass that ask for a new token. No other annotation matters.
var requestChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		const key = v1alpha1.RefreshRequestedAtAnnotation
		return e.ObjectNew.GetAnnotations()[key] != e.ObjectOld.GetAnnotations()[key]
	},
}

// onlyCreated lets creations pass, and onlyDeleted deletions.
var onlyCreated, onlyDeleted = predicate.Funcs{
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}, predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// siblings are the bindings of the same Secret.
func (c *Controller) siblings(ctx context.Context, o client.Object) []reconcile.Request {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	return c.list(ctx, client.InNamespace(b.Namespace), client.MatchingFields{index.Output: b.Spec.Secret.Name})
}

// inNamespaceOf finds the bindings in the namespace of an object whose index has its name.
func (c *Controller) inNamespaceOf(field string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.list(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{field: o.GetName()})
	}
}

func (c *Controller) ofResource(ctx context.Context, o client.Object) []reconcile.Request {
	return c.list(ctx, index.Of(client.ObjectKeyFromObject(o)))
}

func (c *Controller) ofNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return c.list(ctx, client.InNamespace(o.GetName()))
}

func (c *Controller) list(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := c.Client.List(ctx, &bindings, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		// The cache answers this; it fails only when the operator stops or an index is missing.
		log.FromContext(ctx).Error(err, "listing bindings for an event")
		return nil
	}
	requests := make([]reconcile.Request, len(bindings.Items))
	for i := range bindings.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&bindings.Items[i])
	}
	return requests
}

// answerCalls has bindings looked at that the gates call: whose turn it is comes before everything else.
func (c *Controller) answerCalls(_ context.Context, q queue) error {
	c.queue.Store(&q)
	for _, gates := range []*throttle.Gates{c.Gates, c.LookUps} {
		gates.OnCall(func(id string) {
			namespace, name, _ := strings.Cut(id, "/")
			enqueue(q, types.NamespacedName{Namespace: namespace, Name: name}, refresh.Urgent)
		})
	}
	return nil
}

// enqueue has a binding looked at without delay. One that is in the queue already is there once, with the higher priority.
func enqueue(q queue, key types.NamespacedName, priority int) {
	request := reconcile.Request{NamespacedName: key}
	if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priority)}, request)
		return
	}
	q.Add(request)
}
