// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// plan looks the catalog entry up and settles on the scopes. It needs neither Secrets nor the zone.
func (c *Controller) plan(_ context.Context, s *scope) error {
	if err := c.findEntry(s); err != nil {
		return err
	}
	spec := s.Object.Spec
	var add, set []string
	if spec.Scopes != nil {
		add, set = v1alpha1.ScopeNames(spec.Scopes.Add), v1alpha1.ScopeNames(spec.Scopes.Set)
	}
	scopes, unknown := s.entry.Offer(add, set)
	if len(unknown) > 0 {
		return problem.UnknownScope(s.entry.Name, unknown, s.entry.Near(unknown))
	}
	s.scopes = scopes
	return nil
}

func (c *Controller) findEntry(s *scope) error {
	name := s.Object.Spec.CatalogEntry
	entry, known := c.deps.Catalog[name]
	if !known {
		return problem.UnknownCatalogEntry(name, c.deps.Catalog.Near(name))
	}
	s.entry = entry
	return nil
}

// enterZone reads the service account's Secret and asks the zone for its redirect URI, which is
// shown even before the OAuth app's Secret exists: it is needed to make that app.
func (c *Controller) enterZone(ctx context.Context, s *scope) error {
	zone := &s.Object.Spec.Zone
	management, serviceAccount, err := zones.Management(ctx, c.deps.Live, c.deps.Zones, s.Object.Namespace, zone)
	if err != nil {
		return err
	}
	s.Zone.Enter(management)
	s.serviceAccount = serviceAccount
	found, err := s.Zone.GetZone(ctx, zone.ID)
	if keycard.IsNotFound(err) {
		return problem.ZoneNotFound(zone.ID)
	}
	if err != nil {
		return err
	}
	s.Zone.CreatedAt, _ = time.Parse(time.RFC3339, found.CreatedAt) // a zone that does not say when is not new
	s.Object.Status.RedirectURI = found.Protocols.OAuth2.RedirectURI
	s.memory.management = management
	return nil
}

// readOAuthApp reads the upstream's client id and secret. Without them, a person is told how to
// make them.
func (c *Controller) readOAuthApp(ctx context.Context, s *scope) error {
	key := client.ObjectKey{Namespace: s.Object.Namespace, Name: s.Object.Spec.OAuthAppSecretRef.Name}
	app, err := credentials.ReadClient(ctx, c.deps.Live, key, "the OAuth app's client id and secret")
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Reason == v1alpha1.ReasonSecretNotFound {
		return problem.OAuthAppNotFound(key, problem.OAuthApp{
			Provider: s.entry.Provider.Name, DocsURL: s.entry.DocsURL, RedirectURI: s.Object.Status.RedirectURI, Scopes: s.scopes,
		})
	}
	s.app = app
	return err
}
