// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// ensureProvider makes sure that the zone has an OAuth provider for the upstream with this app. All
// resources of an upstream share one: someone else's is used as it is when it has the same app.
func (c *Controller) ensureProvider(ctx context.Context, s *scope) error {
	unlock, err := s.Zone.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	want := s.entry.Provider
	provider, standing, err := remote.Ensure(ctx, s.Zone, remote.Providers, remote.Provider{
		Step: stepProvider, Object: "provider", Identifier: want.Identifier, Marker: s.Marker(), Known: s.Found.ProviderID,
		Body: keycard.ProviderCreate{
			Identifier: want.Identifier, Name: want.Name, Description: s.Description(),
			ClientID: s.app.ID, ClientSecret: s.app.Secret,
			OAuth2: keycard.ProviderOAuth2{
				Issuer:                want.Identifier,
				AuthorizationEndpoint: want.AuthorizationEndpoint, TokenEndpoint: want.TokenEndpoint,
				AuthorizationParameters: want.AuthorizationParameters,
			},
		},
		Created: func(p keycard.Provider) { _, s.Object.Status.OAuthAppHash = s.appHashes(p.ID) },
		Claim:   func(p keycard.Provider) (bool, error) { return c.claimProvider(ctx, s, p) },
		Differs: s.providerDiffers,
	})
	if provider.ID != "" {
		s.Object.Status.ProviderID = provider.ID
	}
	switch {
	case standing == remote.Foreign:
		s.shared, s.Object.Status.OAuthAppHash = true, ""
	case err == nil:
		sent, now := s.appHashes(provider.ID)
		s.rotated, s.Object.Status.OAuthAppHash = sent != now && credentials.SameKey(sent, now), now
	}
	return err
}

// claimProvider decides about a provider that was not made by this install: it is managed when its
// maker is gone, and shared when it has the same app.
func (c *Controller) claimProvider(ctx context.Context, s *scope, p keycard.Provider) (manage bool, err error) {
	sameApp := p.ClientID == s.app.ID
	switch {
	case s.Zone.Observing, sameApp && c.inherits(ctx, s, p.Description):
		return true, nil
	case !sameApp:
		return false, problem.ProviderOfOtherApp(s.described(p), s.app.ID)
	case lacksSecret(p):
		return false, problem.ProviderWithoutSecret(s.described(p))
	}
	return false, nil
}

func (s *scope) described(p keycard.Provider) problem.Provider {
	return problem.Provider{Name: p.Name, ClientID: p.ClientID, Owner: s.maker(p.Description)}
}

// maker is the KeycardResource of this cluster that made an object; empty when none did.
func (s *scope) maker(description string) client.ObjectKey {
	namespace, name, _ := remote.InstallOf(s.ClusterID, description)
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// inherits reports whether an object was made by a KeycardResource of this cluster that is gone.
// What can't be seen is taken to be there.
func (c *Controller) inherits(ctx context.Context, s *scope, description string) bool {
	maker := s.maker(description)
	if maker.Name == "" {
		return false
	}
	var there v1alpha1.KeycardResource
	err := c.deps.Client.Get(ctx, maker, &there)
	return apierrors.IsNotFound(err) || err == nil && there.Spec.Zone.ID != s.Zone.ID
}

// lacksSecret reports whether the zone says that it has no client secret of the provider.
func lacksSecret(provider keycard.Provider) bool { return !ptr.Deref(provider.ClientSecretSet, true) }

// providerDiffers is what is to be changed at the zone's provider, and the names of the fields that
// drifted. The client secret is sent when it changed or the zone has none.
func (s *scope) providerDiffers(have keycard.Provider) (keycard.ProviderPatch, []string) {
	p, fields := s.providerPatch(have)
	sent, now := s.appHashes(have.ID)
	if sent == now && !lacksSecret(have) {
		return p, fields
	}
	p.ClientSecret = keycard.Set(s.app.Secret)
	switch sent {
	case now:
		fields = append(fields, "clientSecret")
	case "": // this install takes the provider over
		fields = nil
	default: // the app changed, or what the hash is keyed with: neither is drift, and what else differs is
		fields = slices.DeleteFunc(fields, func(field string) bool { return field == "clientID" })
	}
	return p, fields
}

// providerPatch is what differs at the provider, but for the secret, which the zone does not show.
func (s *scope) providerPatch(have keycard.Provider) (p keycard.ProviderPatch, d remote.Differences) {
	want, is := s.entry.Provider, have.Protocols.OAuth2
	d.Text("name", &p.Name, have.Name, want.Name)
	if !s.Zone.Observing {
		d.Text("description", &p.Description, have.Description, s.Description())
	}
	d.Text("clientID", &p.ClientID, have.ClientID, s.app.ID)
	d.Text("authorizationEndpoint", &p.OAuth2.AuthorizationEndpoint, is.AuthorizationEndpoint, want.AuthorizationEndpoint)
	d.Text("tokenEndpoint", &p.OAuth2.TokenEndpoint, is.TokenEndpoint, want.TokenEndpoint)
	d.Stated("issuer", &p.OAuth2.Issuer, strings.TrimSuffix(is.Issuer, "/"), want.Identifier)
	d.Stated("scopeParameter", &p.OAuth2.ScopeParameter, is.ScopeParameter, "scope")
	d.Stated("scopeSeparator", &p.OAuth2.ScopeSeparator, is.ScopeSeparator, " ")
	d.Stated("tokenResponseAccessTokenPointer", &p.OAuth2.TokenResponseAccessTokenPointer, is.TokenResponseAccessTokenPointer, "access_token")
	remote.Value(&d, "authorizationParameters", &p.OAuth2.AuthorizationParameters, want.AuthorizationParameters,
		maps.Equal(is.AuthorizationParameters, want.AuthorizationParameters))
	return p, d
}

// appHashes are the hash of the OAuth app as it was sent to the provider, and as it is now. Where
// the zone is only observed nothing is sent.
func (s *scope) appHashes(providerID string) (sent, now string) {
	sent = s.Object.Status.OAuthAppHash
	if s.Zone.Observing {
		return sent, sent
	}
	return sent, credentials.Fingerprint(s.app, providerID, s.serviceAccount)
}
