// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// Field indexes over bindings, besides those of package index: which Secrets they read or write.
const (
	secretIndex  = "secrets"
	accountIndex = "serviceAccount"
	outputIndex  = tokensecret.BindingIndex
)

// SetupWithManager registers the reconciler, its indexes and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, concurrency int) error {
	for field, extract := range map[string]client.IndexerFunc{secretIndex: indexSecrets, accountIndex: indexAccount, outputIndex: indexOutput} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.ConfluenceTokenBinding{}, field, extract); err != nil {
			return fmt.Errorf("indexing bindings by %s: %w", field, err)
		}
	}
	r.elected = mgr.Elected()
	b := ctrl.NewControllerManagedBy(mgr).
		Named("confluencetokenbinding").
		// Labels and annotations of a binding, and its own status, change nothing: GitOps tools write them
		// all the time. One annotation is a request.
		For(&v1alpha1.ConfluenceTokenBinding{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, requestChanged))).
		Watches(&v1alpha1.ConfluenceTokenBinding{}, handler.EnqueueRequestsFromMapFunc(r.siblings), builder.WithPredicates(onlyDeleted)).
		WatchesRawSource(r.Secrets.Source(r.bindingsOfSecret)).
		// A ServiceAccount matters when it appears: nothing of it is read.
		WatchesMetadata(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(r.bindingsOfAccount), builder.WithPredicates(onlyCreated)).
		Watches(&v1alpha1.KeycardResource{}, handler.EnqueueRequestsFromMapFunc(r.bindingsOfResource)).
		WatchesRawSource(source.Func(r.answerCalls)).
		WatchesRawSource(source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			return r.watch(log.IntoContext(ctx, mgr.GetLogger()), queue)
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			// For errors of status writes, which are all that is left to controller-runtime.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		})
	if !r.LiveNamespaces {
		b.WatchesMetadata(namespaces.Metadata(), handler.EnqueueRequestsFromMapFunc(r.bindingsOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return b.Complete(r.noting())
}

func indexSecrets(o client.Object) []string {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	return append(subject.Names(b), b.Spec.Secret.Name)
}

// onlyCreated lets creations pass.
var onlyCreated = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return true },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

func indexOutput(o client.Object) []string {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	return []string{b.Spec.Secret.Name}
}

// siblings are the other bindings of a Secret, which may have waited for one to go.
func (r *Reconciler) siblings(ctx context.Context, o client.Object) []reconcile.Request {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	return r.list(ctx, client.InNamespace(b.Namespace), client.MatchingFields{outputIndex: b.Spec.Secret.Name})
}

// onlyDeleted lets deletions pass.
var onlyDeleted = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

func indexAccount(o client.Object) []string {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok || b.Spec.Application.ServiceAccountName == "" {
		return nil
	}
	return []string{b.Spec.Application.ServiceAccountName}
}

func (r *Reconciler) bindingsOfAccount(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{accountIndex: o.GetName()})
}

func (r *Reconciler) bindingsOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{secretIndex: o.GetName()})
}

func (r *Reconciler) bindingsOfResource(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, index.Of(client.ObjectKeyFromObject(o)))
}

func (r *Reconciler) bindingsOfNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, client.InNamespace(o.GetName()))
}

func (r *Reconciler) list(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := r.Client.List(ctx, &bindings, opts...); err != nil {
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
