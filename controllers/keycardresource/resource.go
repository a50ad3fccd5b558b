// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// ensureResource makes sure that the zone has the resource as the spec wants it.
func (r *Reconciler) ensureResource(ctx context.Context, s *scope) error {
	have, found, err := s.zone.FindResource(ctx, s.zoneID(), s.entry.Resource.Identifier)
	if err != nil {
		return problem.Remote(err)
	}
	if !found {
		if have, err = r.createResource(ctx, s); err != nil {
			return err
		}
	}
	if err := s.mayManage(have); err != nil {
		return err
	}
	if patch, fields := s.resourcePatch(have); !patch.IsZero() {
		log.FromContext(ctx).Info("the resource differs", "resource", have.ID, "fields", fields)
		err := s.change(stepResource, "resource", fields, func() error {
			_, err := s.zone.PatchResource(ctx, s.zoneID(), have.ID, patch)
			return err
		})
		if err != nil {
			return err
		}
	}
	s.resource.Status.ResourceID = have.ID
	s.resource.Status.Scopes = s.offered(have)
	return nil
}

// offered are the scopes that bindings may ask for: what the spec wants, as far as the resource has it where it is only
// observed.
func (s *scope) offered(have keycard.Resource) []v1alpha1.Scope {
	if !s.observing() {
		return toScopes(s.scopes)
	}
	return toScopes(slices.DeleteFunc(slices.Clone(s.scopes), func(scope string) bool { return !slices.Contains(have.Scopes, scope) }))
}

// mayManage refuses to change what the operator did not create, unless it was told to.
func (s *scope) mayManage(have keycard.Resource) error {
	switch {
	case s.observing(), s.owns(have.Description):
		return nil
	case have.OwnerType == keycard.OwnerPlatform:
		return problem.NeedsPerson(v1alpha1.ReasonIdentifierInUse,
			"the identifier %s belongs to a resource of the Keycard platform, which nobody can change", have.Identifier)
	case s.resource.Spec.AdoptionPolicy == v1alpha1.AdoptionAdopt:
		return nil
	}
	maker := "was not made by this KeycardResource"
	if key, ours := s.madeBy(have.Description); ours {
		maker = "belongs to KeycardResource " + key.String()
	}
	return problem.NeedsPerson(v1alpha1.ReasonIdentifierInUse,
		"the zone has a resource %q with the identifier %s that %s; remove it, or set spec.adoptionPolicy to Adopt to take it over",
		have.Name, have.Identifier, maker)
}

func (r *Reconciler) createResource(ctx context.Context, s *scope) (keycard.Resource, error) {
	if err := s.creating("resource", s.entry.Resource.Identifier); err != nil {
		return keycard.Resource{}, err
	}
	log.FromContext(ctx).Info("creating the resource", "identifier", s.entry.Resource.Identifier)
	resource, err := s.zone.CreateResource(ctx, s.zoneID(), keycard.ResourceCreate{
		Identifier: s.entry.Resource.Identifier, Name: s.entry.Resource.Name, Description: s.description(),
		CredentialProviderID: s.resource.Status.ProviderID,
		Scopes:               s.entry.WithRefresh(s.scopes),
		Metadata:             keycard.Metadata{DocsURL: s.entry.DocsURL},
	})
	if err != nil {
		return keycard.Resource{}, createProblem(err, "resource")
	}
	s.created(stepResource, "resource", s.found.ResourceID)
	return resource, nil
}

// resourcePatch is what is to be changed at the zone's resource, and the names of the fields.
func (s *scope) resourcePatch(have keycard.Resource) (keycard.ResourcePatch, []string) {
	var (
		p keycard.ResourcePatch
		d differences
	)
	d.text("name", &p.Name, have.Name, s.entry.Resource.Name)
	if !s.observing() {
		d.text("description", &p.Description, have.Description, s.description())
	}
	d.text("provider", &p.CredentialProviderID, have.CredentialProviderID, s.resource.Status.ProviderID)
	want := s.entry.WithRefresh(s.scopes)
	if !sameSet(have.Scopes, want) {
		p.Scopes = keycard.Set(want)
		d = append(d, "scopes")
	}
	if have.Metadata.DocsURL != s.entry.DocsURL {
		p.Metadata = keycard.Set(keycard.Metadata{DocsURL: s.entry.DocsURL})
		d = append(d, "docsURL")
	}
	return p, d
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
