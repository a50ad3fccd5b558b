// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"maps"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// ensureProvider makes sure that the zone has an OAuth provider for the upstream with this app. All
// resources of an upstream share one provider: somebody else's is used as it is when it has the same app.
func (r *Reconciler) ensureProvider(ctx context.Context, s *scope) error {
	provider, found, err := s.zone.FindProvider(ctx, s.zoneID(), s.entry.Provider.Identifier)
	if err != nil {
		return outcome.Remote(err)
	}
	if !found {
		provider, err = r.createProvider(ctx, s)
		if err != nil {
			return err
		}
	}
	s.resource.Status.ProviderID = provider.ID
	if !s.owns(provider.Description) {
		s.shared, s.resource.Status.OAuthAppHash = true, ""
		if provider.ClientID != s.app.ID {
			return outcome.NeedsPerson(v1alpha1.ReasonProviderConflict,
				"the zone's provider %q for %s has another OAuth app (client id %q, not %q) and was not made by this KeycardResource; use the same app, or change the provider in the zone",
				provider.Name, provider.Identifier, provider.ClientID, s.app.ID)
		}
		return nil
	}
	hash := s.appHash(provider.ID)
	patch := s.providerPatch(provider)
	if s.resource.Status.OAuthAppHash != hash && found {
		patch.ClientSecret = keycard.Set(s.app.Secret)
	}
	if !patch.IsZero() {
		log.FromContext(ctx).Info("updating the provider", "provider", provider.ID)
		if _, err := s.zone.PatchProvider(ctx, s.zoneID(), provider.ID, patch); err != nil {
			return outcome.Remote(err)
		}
	}
	s.resource.Status.OAuthAppHash = hash
	return nil
}

func (r *Reconciler) createProvider(ctx context.Context, s *scope) (keycard.Provider, error) {
	log.FromContext(ctx).Info("creating the provider", "identifier", s.entry.Provider.Identifier)
	want := s.entry.Provider
	provider, err := s.zone.CreateProvider(ctx, s.zoneID(), keycard.ProviderCreate{
		Identifier: want.Identifier, Name: want.Name, Description: s.description(),
		ClientID: s.app.ID, ClientSecret: s.app.Secret,
		OAuth2: keycard.ProviderOAuth2{
			Issuer:                want.Identifier,
			AuthorizationEndpoint: want.AuthorizationEndpoint, TokenEndpoint: want.TokenEndpoint,
			AuthorizationParameters: want.AuthorizationParameters,
		},
	})
	return provider, createProblem(err, "provider")
}

// providerPatch is what is to be changed at the zone's provider, without the client secret.
func (s *scope) providerPatch(have keycard.Provider) keycard.ProviderPatch {
	want := s.entry.Provider
	var p keycard.ProviderPatch
	setIfOther(&p.Name, have.Name, want.Name)
	setIfOther(&p.Description, have.Description, s.description())
	setIfOther(&p.ClientID, have.ClientID, s.app.ID)
	setIfOther(&p.OAuth2.AuthorizationEndpoint, have.Protocols.OAuth2.AuthorizationEndpoint, want.AuthorizationEndpoint)
	setIfOther(&p.OAuth2.TokenEndpoint, have.Protocols.OAuth2.TokenEndpoint, want.TokenEndpoint)
	if !maps.Equal(have.Protocols.OAuth2.AuthorizationParameters, want.AuthorizationParameters) {
		p.OAuth2.AuthorizationParameters = keycard.Set(want.AuthorizationParameters)
	}
	return p
}

func setIfOther(field *keycard.Field[string], have, want string) {
	if have != want {
		*field = keycard.Set(want)
	}
}

// createProblem judges a failed create. An object that appeared since it was looked for is found by the
// next attempt.
func createProblem(err error, kind string) error {
	if keycard.IsConflict(err) {
		return outcome.Passing(v1alpha1.ReasonProgressingWithRetry, "the %s was created by somebody else a moment ago; it is looked at again", kind)
	}
	if err != nil {
		return outcome.Remote(err)
	}
	return nil
}
