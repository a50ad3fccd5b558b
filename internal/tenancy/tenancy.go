// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tenancy decides which namespaces may use a KeycardResource. Nothing is admitted by default but the
// resource's own namespace.
package tenancy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Namespace is a namespace of which only the metadata is read, and cached.
func Namespace() *metav1.PartialObjectMetadata {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return ns
}

// Ending tells whether a namespace is known to be in deletion. It is not when the namespace can't be read.
func Ending(ctx context.Context, reader client.Reader, namespace string) bool {
	ns := Namespace()
	return reader.Get(ctx, client.ObjectKey{Name: namespace}, ns) == nil && !ns.DeletionTimestamp.IsZero()
}

// Admits tells whether a binding in namespace may use the resource. The error is the cluster's, when the labels of
// the namespace are needed and can't be read.
func Admits(ctx context.Context, reader client.Reader, resource *v1alpha1.KeycardResource, namespace string) (bool, error) {
	allowed := resource.Spec.AllowedNamespaces
	switch {
	case namespace == resource.Namespace:
		return true, nil
	case allowed == nil:
		return false, nil
	case allowed.From == v1alpha1.NamespacesFromAll:
		return true, nil
	case allowed.From != v1alpha1.NamespacesFromSelector:
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		// The schema checks selectors, but not in full; one that means nothing admits nobody.
		return false, nil //nolint:nilerr // see above
	}
	ns := Namespace()
	if err := reader.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return false, fmt.Errorf("reading labels of namespace %s: %w", namespace, err)
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
}

// Uses tells whether the binding names the resource.
func Uses(b *v1alpha1.ConfluenceTokenBinding, resource client.ObjectKey) bool {
	return ResourceOf(b) == resource
}

// ResourceOf is the KeycardResource that a binding names.
func ResourceOf(b *v1alpha1.ConfluenceTokenBinding) client.ObjectKey {
	ref := b.Spec.ResourceRef
	key := client.ObjectKey{Namespace: b.Namespace, Name: ref.Name}
	if ref.Namespace != "" {
		key.Namespace = ref.Namespace
	}
	return key
}
