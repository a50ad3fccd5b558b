// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// ensureResource makes sure that the zone has the resource as the spec wants it.
func (r *Reconciler) ensureResource(ctx context.Context, s *scope) error {
	have, found, err := s.zone.FindResource(ctx, s.zoneID(), s.entry.Resource.Identifier)
	if err != nil {
		return outcome.Remote(err)
	}
	if !found {
		if have, err = r.createResource(ctx, s); err != nil {
			return err
		}
	}
	if err := s.mayManage(have); err != nil {
		return err
	}
	if patch := s.resourcePatch(have); !patch.IsZero() {
		log.FromContext(ctx).Info("updating the resource", "resource", have.ID)
		if _, err := s.zone.PatchResource(ctx, s.zoneID(), have.ID, patch); err != nil {
			return outcome.Remote(err)
		}
	}
	s.resource.Status.ResourceID = have.ID
	s.resource.Status.Scopes = toScopes(s.scopes)
	return nil
}

// mayManage refuses to change what the operator did not create, unless it was told to.
func (s *scope) mayManage(have keycard.Resource) error {
	switch {
	case s.owns(have.Description):
		return nil
	case have.OwnerType == keycard.OwnerPlatform:
		return outcome.NeedsPerson(v1alpha1.ReasonIdentifierInUse,
			"the identifier %s belongs to a resource of the Keycard platform, which nobody can change", have.Identifier)
	case s.resource.Spec.AdoptionPolicy == v1alpha1.AdoptionAdopt:
		return nil
	}
	return outcome.NeedsPerson(v1alpha1.ReasonIdentifierInUse,
		"the zone has a resource %q with the identifier %s that was not made by this KeycardResource; remove it, or set spec.adoptionPolicy to Adopt to take it over",
		have.Name, have.Identifier)
}

func (r *Reconciler) createResource(ctx context.Context, s *scope) (keycard.Resource, error) {
	log.FromContext(ctx).Info("creating the resource", "identifier", s.entry.Resource.Identifier)
	resource, err := s.zone.CreateResource(ctx, s.zoneID(), keycard.ResourceCreate{
		Identifier: s.entry.Resource.Identifier, Name: s.entry.Resource.Name, Description: s.description(),
		CredentialProviderID: s.resource.Status.ProviderID,
		Scopes:               s.entry.WithRefresh(s.scopes),
		Metadata:             keycard.Metadata{DocsURL: s.entry.DocsURL},
	})
	return resource, createProblem(err, "resource")
}

func (s *scope) resourcePatch(have keycard.Resource) keycard.ResourcePatch {
	var p keycard.ResourcePatch
	setIfOther(&p.Name, have.Name, s.entry.Resource.Name)
	setIfOther(&p.Description, have.Description, s.description())
	setIfOther(&p.CredentialProviderID, have.CredentialProviderID, s.resource.Status.ProviderID)
	want := s.entry.WithRefresh(s.scopes)
	if !sameSet(have.Scopes, want) {
		p.Scopes = keycard.Set(want)
	}
	if have.Metadata.DocsURL != s.entry.DocsURL {
		p.Metadata = keycard.Set(keycard.Metadata{DocsURL: s.entry.DocsURL})
	}
	return p
}

// sameSet compares scopes without regard to order, which the zone need not keep.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func toScopes(scopes []string) []v1alpha1.Scope {
	out := make([]v1alpha1.Scope, len(scopes))
	for i, s := range scopes {
		out[i] = v1alpha1.Scope(s)
	}
	return out
}
