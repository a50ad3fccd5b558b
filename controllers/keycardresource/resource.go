// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"slices"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// ensureResource makes sure that the zone has the resource as the spec wants it.
func (c *Controller) ensureResource(ctx context.Context, s *scope) error {
	want := s.entry.Resource
	have, _, err := remote.Ensure(ctx, s.Zone, remote.Resources, remote.Resource{
		Step: stepResource, Object: "resource", Identifier: want.Identifier, Marker: s.Marker(), Known: s.Found.ResourceID,
		Body: keycard.ResourceCreate{
			Identifier: want.Identifier, Name: want.Name, Description: s.Description(),
			CredentialProviderID: s.Object.Status.ProviderID,
			Scopes:               s.entry.WithRefresh(s.scopes),
			Metadata:             keycard.Metadata{DocsURL: s.entry.DocsURL},
		},
		Claim:   s.claimResource,
		Differs: s.resourceDiffers,
	})
	if err != nil {
		return err
	}
	s.Object.Status.ResourceID = have.ID
	s.Object.Status.Scopes = s.offered(have)
	return nil
}

// offered are the scopes that bindings may ask for. A resource that is only observed may lack some.
func (s *scope) offered(have keycard.Resource) []v1alpha1.Scope {
	var offered []v1alpha1.Scope
	for _, scope := range s.scopes {
		if !s.Zone.Observing || slices.Contains(have.Scopes, scope) {
			offered = append(offered, v1alpha1.Scope(scope))
		}
	}
	return offered
}

// claimResource refuses to change what this install did not create, unless it was told to.
func (s *scope) claimResource(have keycard.Resource) (manage bool, err error) {
	switch {
	case s.Zone.Observing:
		return true, nil
	case have.OwnerType == keycard.OwnerPlatform:
		return false, problem.IdentifierOfPlatform(have.Identifier)
	case s.Object.Spec.AdoptionPolicy == v1alpha1.AdoptionAdopt:
		return true, nil
	}
	return false, problem.IdentifierInUse(have.Name, have.Identifier, s.maker(have.Description))
}

// resourceDiffers is what is to be changed at the zone's resource, and the names of the fields.
func (s *scope) resourceDiffers(have keycard.Resource) (keycard.ResourcePatch, []string) {
	var (
		p keycard.ResourcePatch
		d remote.Differences
	)
	d.Text("name", &p.Name, have.Name, s.entry.Resource.Name)
	if !s.Zone.Observing {
		d.Text("description", &p.Description, have.Description, s.Description())
	}
	d.Text("provider", &p.CredentialProviderID, have.CredentialProviderID, s.Object.Status.ProviderID)
	want := s.entry.WithRefresh(s.scopes)
	remote.Value(&d, "scopes", &p.Scopes, want, remote.SameSet(have.Scopes, want))
	remote.Value(&d, "docsURL", &p.Metadata, keycard.Metadata{DocsURL: s.entry.DocsURL}, have.Metadata.DocsURL == s.entry.DocsURL)
	return p, d
}
