// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// secretIndex is the field index over the Secrets that a resource reads.
const secretIndex = "secrets"

// SetupWithManager registers the reconciler, its index and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, concurrency int) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.KeycardResource{}, secretIndex, indexSecrets); err != nil {
		return fmt.Errorf("indexing resources by %s: %w", secretIndex, err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("keycardresource").
		For(&v1alpha1.KeycardResource{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.resourcesOfSecret)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			// For errors of status writes, which are all that is left to controller-runtime.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		}).
		Complete(r)
}

func indexSecrets(o client.Object) []string {
	resource, ok := o.(*v1alpha1.KeycardResource)
	if !ok {
		return nil
	}
	return []string{resource.Spec.Zone.ServiceAccountSecretRef.Name, resource.Spec.OAuthAppSecretRef.Name}
}

func (r *Reconciler) resourcesOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	var resources v1alpha1.KeycardResourceList
	err := r.Client.List(ctx, &resources, client.InNamespace(o.GetNamespace()), client.MatchingFields{secretIndex: o.GetName()})
	if err != nil {
		// The cache answers this; it fails only when the operator stops or the index is missing.
		log.FromContext(ctx).Error(err, "listing KeycardResources for an event")
		return nil
	}
	requests := make([]reconcile.Request, len(resources.Items))
	for i := range resources.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&resources.Items[i])
	}
	return requests
}
