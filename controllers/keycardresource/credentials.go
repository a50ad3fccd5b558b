// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"errors"
	"strings"
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
	scopes, err := s.entry.Offer(add, set)
	if err != nil {
		return problem.Blocked(v1alpha1.ReasonUnknownScope, "%v", err)
	}
	s.scopes = scopes
	return nil
}

func (c *Controller) findEntry(s *scope) error {
	entry, err := c.deps.Catalog.Find(s.Object.Spec.CatalogEntry)
	if err != nil {
		return problem.Blocked(v1alpha1.ReasonUnknownCatalogEntry, "%v", err)
	}
	s.entry = entry
	return nil
}

// enterZone reads the service account's Secret and asks the zone for its redirect URI, which is shown
// even before the OAuth app's Secret exists: it is needed to make that app.
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
		return problem.NeedsPerson(v1alpha1.ReasonRequestRejected,
			"the service account sees no zone %q; check spec.zone.id and the service account's permissions", zone.ID)
	}
	if err != nil {
		return problem.Remote(err)
	}
	s.Zone.CreatedAt, _ = time.Parse(time.RFC3339, found.CreatedAt) // a zone that does not say when is not new
	s.Object.Status.RedirectURI = found.Protocols.OAuth2.RedirectURI
	s.memory.management = management
	return nil
}

// readOAuthApp reads the upstream's client id and secret. While they are missing, the message walks the
// person through making them.
func (c *Controller) readOAuthApp(ctx context.Context, s *scope) error {
	key := client.ObjectKey{Namespace: s.Object.Namespace, Name: s.Object.Spec.OAuthAppSecretRef.Name}
	app, err := credentials.ReadClient(ctx, c.deps.Live, key, "the OAuth app's client id and secret")
	var p *problem.Problem
	if errors.As(err, &p) && p.Reason == v1alpha1.ReasonSecretNotFound {
		return problem.Waiting(v1alpha1.ReasonSecretNotFound,
			"Secret %s does not exist. Make an OAuth 2.0 app at %s (%s), give it the scopes %s, set its callback URL to %s, and create the Secret with the app's keys %s and %s",
			key, s.entry.Provider.Name, s.entry.DocsURL, strings.Join(s.scopes, " "), s.Object.Status.RedirectURI,
			v1alpha1.ClientIDKey, v1alpha1.ClientSecretKey)
	}
	s.app = app
	return err
}
