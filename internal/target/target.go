// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package target finds what a binding exchanges for.
package target

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// Target is what a binding exchanges for: a resource at the authorization server of a zone, with scopes.
type Target struct {
	Install          *v1alpha1.KeycardResource
	Issuer, Resource string
	Scopes           []string
	// Progress is how far the install has come.
	Progress refresh.Progress
}

// Finder finds targets. It is safe for concurrent use.
type Finder struct {
	cached, live   client.Reader
	zones          *keycard.Pool
	catalog        catalog.Catalog
	liveNamespaces bool
}

// NewFinder returns a Finder that reads from the cache, and CA bundles from the server. liveNamespaces is for an operator that may not
// watch namespaces: it reads them from the server too.
func NewFinder(cached, live client.Reader, pool *keycard.Pool, entries catalog.Catalog, liveNamespaces bool) *Finder {
	return &Finder{cached: cached, live: live, zones: pool, catalog: entries, liveNamespaces: liveNamespaces}
}

// Of returns what a binding exchanges for. The KeycardResource has to admit its namespace, to be registered in the zone, and to offer
// the scopes. The error is a *problem.Problem, or one of the cluster.
func (f *Finder) Of(ctx context.Context, b *v1alpha1.ConfluenceTokenBinding) (Target, error) {
	key := b.ResourceKey()
	var install v1alpha1.KeycardResource
	err := f.cached.Get(ctx, key, &install)
	if err != nil && !apierrors.IsNotFound(err) {
		return Target{}, problem.Cluster("reading KeycardResource "+key.String(), err)
	}
	admitted := err == nil
	if admitted {
		if admitted, err = namespaces.Admits(ctx, f.namespaces(), &install, b.Namespace); err != nil {
			return Target{}, err
		}
	}
	if !admitted {
		return Target{}, problem.NotAdmitted(key, b.Namespace, f.liveNamespaces)
	}
	entry, known := f.catalog[install.Spec.CatalogEntry]
	// Once registered is enough: a later mistake in its spec, or an outage, does not stop the bindings.
	if !known || install.Status.ResourceID == "" {
		return Target{}, problem.ResourceNotReady(key)
	}
	if !install.DeletionTimestamp.IsZero() {
		return Target{}, problem.ResourceEnding(key)
	}
	scopes, err := requestedScopes(b, &install)
	if err != nil {
		return Target{}, err
	}
	return Target{
		Install: &install, Issuer: install.Spec.Zone.IssuerURL(), Resource: entry.Resource.Identifier, Scopes: scopes,
		Progress: progressOf(&install),
	}, nil
}

// Zone returns the client of the zone's authorization server.
func (f *Finder) Zone(ctx context.Context, t Target) (*keycard.ZoneClient, error) {
	pool, err := zones.Pool(ctx, f.live, f.zones, t.Install.Namespace, t.Install.Spec.Zone.CABundle)
	if err != nil {
		return nil, err
	}
	return pool.Zone(t.Issuer)
}

// namespaces reads namespaces: from the cache where they are watched.
func (f *Finder) namespaces() client.Reader {
	if f.liveNamespaces {
		return f.live
	}
	return f.cached
}

// progressOf returns how far an install has come.
func progressOf(install *v1alpha1.KeycardResource) refresh.Progress {
	spec := &install.Spec
	of := func(conditionType string, wanted bool) int {
		c := meta.FindStatusCondition(install.Status.Conditions, conditionType)
		switch {
		case c == nil && !wanted && install.Status.ObservedGeneration == install.Generation:
			return 2
		case c == nil || c.ObservedGeneration != install.Generation || c.Status == metav1.ConditionUnknown:
			return 0
		case c.Status == metav1.ConditionTrue:
			return 2
		}
		return 1
	}
	return refresh.Progress{
		Policies:     of(v1alpha1.ConditionPoliciesApplied, len(spec.Policies) > 0),
		Applications: of(v1alpha1.ConditionApplicationsRegistered, len(spec.Applications) > 0 || spec.WorkloadRegistration != nil),
	}
}

// requestedScopes returns what the binding asks for, or all that the resource offers; sorted.
func requestedScopes(b *v1alpha1.ConfluenceTokenBinding, resource *v1alpha1.KeycardResource) ([]string, error) {
	offered := v1alpha1.ScopeNames(resource.Status.Scopes)
	wanted := v1alpha1.ScopeNames(b.Spec.Scopes)
	if len(wanted) == 0 {
		wanted = offered
	}
	missing := Lacking(offered, wanted)
	if len(missing) > 0 {
		return nil, problem.ScopeNotOffered(resource.Name, missing, offered)
	}
	slices.Sort(wanted)
	return wanted, nil
}

// Lacking returns which of the wanted scopes are not there.
func Lacking(there, wanted []string) (missing []string) {
	for _, scope := range wanted {
		if !slices.Contains(there, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}
