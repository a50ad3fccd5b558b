// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package namespaces reads the metadata of namespaces.
package namespaces

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Metadata returns an empty namespace of which only the metadata is read, and cached.
func Metadata() *metav1.PartialObjectMetadata {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return ns
}

// Ending reports whether a namespace is known to be in deletion. It is not when the namespace can't be read.
func Ending(ctx context.Context, reader client.Reader, namespace string) bool {
	ns := Metadata()
	return reader.Get(ctx, client.ObjectKey{Name: namespace}, ns) == nil && !ns.DeletionTimestamp.IsZero()
}

// Admits reports whether objects in namespace may use the resource. It reads the namespace only where its labels decide; the
// error is that read's.
func Admits(ctx context.Context, reader client.Reader, resource *v1alpha1.KeycardResource, namespace string) (bool, error) {
	return resource.Admits(namespace, func() (map[string]string, error) {
		ns := Metadata()
		if err := reader.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
			return nil, fmt.Errorf("reading labels of namespace %s: %w", namespace, err)
		}
		return ns.Labels, nil
	})
}
