// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package index finds bindings by what they name, in the cache.
package index

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Install is the field of bindings by which those of a KeycardResource are found: its namespace and name.
const Install = "install"

// Register adds the index to the cache.
func Register(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.ConfluenceTokenBinding{}, Install, InstallOf); err != nil {
		return fmt.Errorf("indexing bindings by %s: %w", Install, err)
	}
	return nil
}

// InstallOf returns the value of the field Install.
func InstallOf(o client.Object) []string {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	if !ok {
		return nil
	}
	return []string{b.ResourceKey().String()}
}

// Of selects the bindings of a KeycardResource.
func Of(install client.ObjectKey) client.MatchingFields {
	return client.MatchingFields{Install: install.String()}
}

// Users lists the bindings that use a KeycardResource and are not being deleted. They are the cache's own: no one may change
// them.
func Users(ctx context.Context, c client.Reader, install client.ObjectKey) ([]v1alpha1.ConfluenceTokenBinding, error) {
	var list v1alpha1.ConfluenceTokenBindingList
	if err := c.List(ctx, &list, Of(install), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing bindings: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(b v1alpha1.ConfluenceTokenBinding) bool { return !b.DeletionTimestamp.IsZero() }), nil
}
