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
	"github.com/keycardai/keycard-operator/internal/problem"
)

// The fields of bindings by which they are found.
const (
	// Install has the namespace and name of the KeycardResource.
	Install = "install"
	// Secret has the names of the Secrets that the binding reads or writes, and Output that of the
	// one it writes. The API server selects by the latter too.
	Secret = "secrets"
	Output = "spec.secret.name"
	// Account has the name of the ServiceAccount.
	Account = "serviceAccount"
)

// Register adds the indexes to the cache.
func Register(ctx context.Context, indexer client.FieldIndexer) error {
	for field, values := range map[string]client.IndexerFunc{
		Install: InstallOf,
		Secret:  of(func(b *v1alpha1.ConfluenceTokenBinding) []string { return append(b.InputSecrets(), b.Spec.Secret.Name) }),
		Output:  of(func(b *v1alpha1.ConfluenceTokenBinding) []string { return []string{b.Spec.Secret.Name} }),
		Account: of(func(b *v1alpha1.ConfluenceTokenBinding) []string {
			if b.Spec.Application.ServiceAccountName == "" {
				return nil
			}
			return []string{b.Spec.Application.ServiceAccountName}
		}),
	} {
		if err := indexer.IndexField(ctx, &v1alpha1.ConfluenceTokenBinding{}, field, values); err != nil {
			return fmt.Errorf("indexing bindings by %s: %w", field, err)
		}
	}
	return nil
}

// of makes a function of bindings one of objects.
func of(values func(*v1alpha1.ConfluenceTokenBinding) []string) client.IndexerFunc {
	return func(o client.Object) []string {
		b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
		if !ok {
			return nil
		}
		return values(b)
	}
}

// InstallOf returns the value of the field Install.
func InstallOf(o client.Object) []string {
	return of(func(b *v1alpha1.ConfluenceTokenBinding) []string { return []string{b.ResourceKey().String()} })(o)
}

// Of selects the bindings of a KeycardResource.
func Of(install client.ObjectKey) client.MatchingFields {
	return client.MatchingFields{Install: install.String()}
}

// Users lists the bindings that use a KeycardResource and are not being deleted. They are the
// cache's own: no one may change them.
func Users(ctx context.Context, c client.Reader, install client.ObjectKey) ([]v1alpha1.ConfluenceTokenBinding, error) {
	var list v1alpha1.ConfluenceTokenBindingList
	if err := c.List(ctx, &list, Of(install), client.UnsafeDisableDeepCopy); err != nil {
		return nil, problem.Cluster("listing bindings", err)
	}
	return slices.DeleteFunc(list.Items, func(b v1alpha1.ConfluenceTokenBinding) bool { return !b.DeletionTimestamp.IsZero() }), nil
}
