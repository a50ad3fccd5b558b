// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// ensureProvider makes sure that the zone has an OAuth provider for the upstream with this app. All
// resources of an upstream share one provider: somebody else's is used as it is when it has the same app.
func (r *Reconciler) ensureProvider(ctx context.Context, s *scope) error {
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	provider, found, err := s.zone.FindProvider(ctx, s.zoneID(), s.entry.Provider.Identifier)
	if err != nil {
		return problem.Remote(err)
	}
	if !found {
		if provider, err = r.createProvider(ctx, s); err != nil {
			return err
		}
		s.resource.Status.OAuthAppHash = s.appHash(provider.ID)
	}
	s.resource.Status.ProviderID = provider.ID
	sameApp := provider.ClientID == s.app.ID
	if !s.observing() && !s.owns(provider.Description) && (!sameApp || !r.inherits(ctx, s, provider.Description)) {
		s.shared, s.resource.Status.OAuthAppHash = true, ""
		switch {
		case !sameApp:
			has := fmt.Sprintf("another OAuth app (client id %q, not %q)", provider.ClientID, s.app.ID)
			return s.unfit(provider, has, "use the same app, or change the provider in the zone")
		case lacksSecret(provider):
			return s.unfit(provider, "this OAuth app without its client secret", "set the client secret of the provider in the zone")
		}
		return nil
	}
	return s.updateProvider(ctx, provider)
}

// lacksSecret tells whether the zone says that it has no client secret of the provider.
func lacksSecret(provider keycard.Provider) bool { return !ptr.Deref(provider.ClientSecretSet, true) }

// unfit says why the zone's provider, which is somebody else's, can't serve this install.
func (s *scope) unfit(provider keycard.Provider, has, remedy string) error {
	maker := "was not made by the operator"
	if key, ours := s.madeBy(provider.Description); ours {
		maker = "belongs to KeycardResource " + key.String()
	}
	return problem.NeedsPerson(v1alpha1.ReasonProviderConflict,
		"the zone's provider %q for %s has %s and %s; all resources of an upstream share one provider: %s",
		provider.Name, provider.Identifier, has, maker, remedy)
}

// updateProvider puts right what differs, and sends the client secret when it changed or the zone has none.
func (s *scope) updateProvider(ctx context.Context, provider keycard.Provider) error {
	patch, fields := s.providerPatch(provider)
	sent, hash := s.resource.Status.OAuthAppHash, s.appHash(provider.ID)
	if s.observing() {
		hash = sent
	}
	switch {
	case sent == hash && !lacksSecret(provider):
		if patch.IsZero() {
			return nil
		}
	case sent == hash:
		patch.ClientSecret = keycard.Set(s.app.Secret)
		fields = append(fields, "clientSecret")
	case sent == "": // this install takes the provider over
		patch.ClientSecret, fields = keycard.Set(s.app.Secret), nil
	default: // the app changed, or what the hash is keyed with: neither is drift, and what else differs is
		patch.ClientSecret = keycard.Set(s.app.Secret)
		fields = slices.DeleteFunc(fields, func(field string) bool { return field == "clientID" })
	}
	err := s.change(stepProvider, "provider", fields, func() error {
		log.FromContext(ctx).Info("updating the provider", "provider", provider.ID, "fields", fields)
		_, err := s.zone.PatchProvider(ctx, s.zoneID(), provider.ID, patch)
		return err
	})
	if err != nil {
		return err
	}
	s.rotated, s.resource.Status.OAuthAppHash = sent != hash && sameKey(sent, hash), hash
	return nil
}

func (r *Reconciler) createProvider(ctx context.Context, s *scope) (keycard.Provider, error) {
	want := s.entry.Provider
	if err := s.creating("provider", want.Identifier); err != nil {
		return keycard.Provider{}, err
	}
	log.FromContext(ctx).Info("creating the provider", "identifier", want.Identifier)
	provider, err := s.zone.CreateProvider(ctx, s.zoneID(), keycard.ProviderCreate{
		Identifier: want.Identifier, Name: want.Name, Description: s.description(),
		ClientID: s.app.ID, ClientSecret: s.app.Secret,
		OAuth2: keycard.ProviderOAuth2{
			Issuer:                want.Identifier,
			AuthorizationEndpoint: want.AuthorizationEndpoint, TokenEndpoint: want.TokenEndpoint,
			AuthorizationParameters: want.AuthorizationParameters,
		},
	})
	if err != nil {
		return keycard.Provider{}, createProblem(err, "provider")
	}
	s.created(stepProvider, "provider", s.found.ProviderID)
	return provider, nil
}

// providerPatch is what is to be changed at the zone's provider, without the client secret, and the names of the
// fields.
func (s *scope) providerPatch(have keycard.Provider) (keycard.ProviderPatch, []string) {
	want := s.entry.Provider
	var (
		p keycard.ProviderPatch
		d differences
	)
	d.text("name", &p.Name, have.Name, want.Name)
	if !s.observing() {
		d.text("description", &p.Description, have.Description, s.description())
	}
	d.text("clientID", &p.ClientID, have.ClientID, s.app.ID)
	d.text("authorizationEndpoint", &p.OAuth2.AuthorizationEndpoint, have.Protocols.OAuth2.AuthorizationEndpoint, want.AuthorizationEndpoint)
	d.text("tokenEndpoint", &p.OAuth2.TokenEndpoint, have.Protocols.OAuth2.TokenEndpoint, want.TokenEndpoint)
	d.stated("issuer", &p.OAuth2.Issuer, strings.TrimSuffix(have.Protocols.OAuth2.Issuer, "/"), want.Identifier)
	d.stated("scopeParameter", &p.OAuth2.ScopeParameter, have.Protocols.OAuth2.ScopeParameter, "scope")
	d.stated("scopeSeparator", &p.OAuth2.ScopeSeparator, have.Protocols.OAuth2.ScopeSeparator, " ")
	d.stated("tokenResponseAccessTokenPointer", &p.OAuth2.TokenResponseAccessTokenPointer, have.Protocols.OAuth2.TokenResponseAccessTokenPointer, "access_token")
	if !maps.Equal(have.Protocols.OAuth2.AuthorizationParameters, want.AuthorizationParameters) {
		p.OAuth2.AuthorizationParameters = keycard.Set(want.AuthorizationParameters)
		d = append(d, "authorizationParameters")
	}
	return p, d
}

// differences names the fields of a patch.
type differences []string

// text sets a field that differs.
func (d *differences) text(name string, field *keycard.Field[string], have, want string) {
	if have != want {
		*field = keycard.Set(want)
		*d = append(*d, name)
	}
}

// stated sets a field that differs, where the zone states it: what is left out has the default.
func (d *differences) stated(name string, field *keycard.Field[string], have, want string) {
	if have != "" {
		d.text(name, field, have, want)
	}
}

// createProblem judges a failed create. An object that appeared since it was looked for is found by the
// next attempt.
func createProblem(err error, kind string) error {
	if keycard.IsConflict(err) {
		return problem.Passing(v1alpha1.ReasonProgressingWithRetry, "the %s was created by somebody else a moment ago; it is looked at again", kind)
	}
	if err != nil {
		return problem.Remote(err)
	}
	return nil
}
