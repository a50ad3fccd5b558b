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
	"github.com/keycardai/keycard-operator/internal/namespaces"
)

// The field indexes over the Secrets and ConfigMaps that a resource reads.
const (
	secretIndex    = "secrets"
	configMapIndex = "configMaps"
)

// SetupWithManager registers the controller, its indexes and its watches.
func (c *Controller) SetupWithManager(ctx context.Context, mgr ctrl.Manager, concurrency int) error {
	for field, extract := range map[string]client.IndexerFunc{secretIndex: indexSecrets, configMapIndex: indexConfigMaps} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.KeycardResource{}, field, extract); err != nil {
			return fmt.Errorf("indexing resources by %s: %w", field, err)
		}
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("keycardresource").
		For(&v1alpha1.KeycardResource{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(c.deps.Secrets.Source(c.readersOf(secretIndex))).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(c.readersOf(configMapIndex))).
		Watches(&v1alpha1.ConfluenceTokenBinding{}, handler.EnqueueRequestsFromMapFunc(c.resourceOfBinding), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			// For errors of status writes, which are all that is left to controller-runtime.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		})
	if !c.deps.LiveNamespaces {
		b.WatchesMetadata(namespaces.Metadata(), handler.EnqueueRequestsFromMapFunc(c.resourcesThatSelect), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return b.Complete(c)
}

// namespaces reads namespaces: from the cache where they are watched.
func (c *Controller) namespaces() client.Reader {
	if c.deps.LiveNamespaces {
		return c.deps.Live
	}
	return c.deps.Client
}

func indexSecrets(o client.Object) []string {
	resource, ok := o.(*v1alpha1.KeycardResource)
	if !ok {
		return nil
	}
	names := []string{resource.Spec.Zone.ServiceAccountSecretRef.Name, resource.Spec.OAuthAppSecretRef.Name}
	if ca := resource.Spec.Zone.CABundle; ca != nil && ca.SecretKeyRef != nil {
		names = append(names, ca.SecretKeyRef.Name)
	}
	return names
}

func indexConfigMaps(o client.Object) []string {
	resource, ok := o.(*v1alpha1.KeycardResource)
	if !ok || resource.Spec.Zone.CABundle == nil || resource.Spec.Zone.CABundle.ConfigMapKeyRef == nil {
		return nil
	}
	return []string{resource.Spec.Zone.CABundle.ConfigMapKeyRef.Name}
}

// readersOf gives the resources that read a Secret or a ConfigMap.
func (c *Controller) readersOf(index string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.list(ctx, nil, client.InNamespace(o.GetNamespace()), client.MatchingFields{index: o.GetName()})
	}
}

// resourceOfBinding gives the resource that a binding uses, where it matters who does: to the
// registration of workloads and of the first binding that acts for a person, and to a deletion that
// waits.
func (c *Controller) resourceOfBinding(ctx context.Context, o client.Object) []reconcile.Request {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	key := b.ResourceKey()
	var resource v1alpha1.KeycardResource
	if err := c.deps.Client.Get(ctx, key, &resource); err != nil {
		return nil // it does not exist, or is not watched
	}
	consents := len(c.deps.ConsentRedirectURIs) > 0 && b.Spec.Subject.User != "" && resource.Status.ConsentClientID == ""
	if resource.Spec.WorkloadRegistration == nil && !consents && resource.DeletionTimestamp.IsZero() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// resourcesThatSelect gives the resources that register workloads of namespaces by their labels.
func (c *Controller) resourcesThatSelect(ctx context.Context, _ client.Object) []reconcile.Request {
	return c.list(ctx, func(resource *v1alpha1.KeycardResource) bool {
		allowed := resource.Spec.AllowedNamespaces
		return resource.Spec.WorkloadRegistration != nil && allowed != nil && allowed.From == v1alpha1.NamespacesFromSelector
	})
}

func (c *Controller) list(ctx context.Context, keep func(*v1alpha1.KeycardResource) bool, opts ...client.ListOption) []reconcile.Request {
	var resources v1alpha1.KeycardResourceList
	if err := c.deps.Client.List(ctx, &resources, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		// The cache answers this; it fails only when the operator stops or the index is missing.
		log.FromContext(ctx).Error(err, "listing KeycardResources for an event")
		return nil
	}
	var requests []reconcile.Request
	for i := range resources.Items {
		if keep == nil || keep(&resources.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&resources.Items[i])})
		}
	}
	return requests
}
