// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type providerView struct {
	base
	OwnerType       string                   `json:"owner_type"`
	Type            string                   `json:"type"`
	Identifier      string                   `json:"identifier"`
	Name            string                   `json:"name"`
	Description     *string                  `json:"description"`
	ClientID        *string                  `json:"client_id"`
	ClientSecretSet bool                     `json:"client_secret_set"`
	Metadata        *store.Metadata          `json:"metadata"`
	Protocols       *store.ProviderProtocols `json:"protocols"`
}

var providers = kind[store.Provider]{
	shape: legacy,
	table: func(tx *store.Tx) *store.Table[store.Provider] { return tx.Providers },
	view:  func(c *call, p store.Provider) any { return c.providerView(p) },
	guard: func(c *call, p store.Provider) error { return notOfPlatform(c, p.OwnerType) },
	empty: func(c *call) store.Provider {
		return store.Provider{Meta: store.Meta{ZoneID: c.zone.ID}, OwnerType: store.OwnerCustomer, Type: store.ProviderExternal}
	},
	fields: func(_ *call, p *store.Provider, creating bool) fields {
		return fields{
			text("identifier", creating, &p.Identifier, isIdentifier),
			text("name", creating, &p.Name, isName),
			nullableText("description", &p.Description, isDescription),
			nullableText("client_id", &p.ClientID, isNotEmpty),
			nullableText("client_secret", &p.ClientSecret, isNotEmpty),
			metadata(&p.Metadata),
			nested("protocols", &p.Protocols, func(x *store.ProviderProtocols) fields {
				return fields{
					nested("oauth2", &x.OAuth2, func(o *store.ProviderOAuth2) fields { return providerOAuth2(o, p.Identifier) }),
					nested("openid", &x.OpenID, providerOpenID),
				}
			}),
		}
	},
	filters: filters[store.Provider]{
		"identifier": is(func(p store.Provider) string { return p.Identifier }),
		"slug":       is(func(p store.Provider) string { return p.Slug }),
		"type":       is(func(p store.Provider) string { return p.Type }, store.ProviderExternal, store.ProviderVault, store.ProviderSTS),
	},
	remove: func(c *call, p store.Provider) error { return c.tx.DeleteProvider(p.ZoneID, p.ID) },
}

func (s *server) providerView(p store.Provider) providerView {
	return providerView{
		base:            s.base(p.Meta),
		OwnerType:       p.OwnerType,
		Type:            p.Type,
		Identifier:      p.Identifier,
		Name:            p.Name,
		Description:     p.Description,
		ClientID:        p.ClientID,
		ClientSecretSet: p.ClientSecret != nil,
		Metadata:        p.Metadata,
		Protocols:       p.Protocols,
	}
}

func providerOAuth2(o *store.ProviderOAuth2, identifier string) fields {
	o.Issuer = cmp.Or(o.Issuer, identifier)
	return fields{
		text("issuer", false, &o.Issuer, isNotEmpty),
		nullableText("authorization_endpoint", &o.AuthorizationEndpoint, isURL),
		nullableText("token_endpoint", &o.TokenEndpoint, isURL),
		nullableText("registration_endpoint", &o.RegistrationEndpoint, isURL),
		nullableText("jwks_uri", &o.JWKSURI, isURL),
		textMap("authorization_parameters", &o.AuthorizationParameters),
		nullable("authorization_resource_enabled", "a boolean", &o.AuthorizationResourceEnabled, nil),
		nullableText("authorization_resource_parameter", &o.AuthorizationResourceParameter, isNotEmpty),
		texts("code_challenge_methods_supported", &o.CodeChallengeMethodsSupported, isNotEmpty),
		nullableText("scope_parameter", &o.ScopeParameter, isNotEmpty),
		nullableText("scope_separator", &o.ScopeSeparator, isNotEmpty),
		texts("scopes_supported", &o.ScopesSupported, isScope),
		nullableText("token_response_access_token_pointer", &o.AccessTokenPointer, isNotEmpty),
	}
}

func providerOpenID(o *store.ProviderOpenID) fields {
	return fields{
		nullableText("user_identifier_claim", &o.UserIdentifierClaim, isNotEmpty),
		nullableText("userinfo_endpoint", &o.UserinfoEndpoint, isURL),
		texts("scopes", &o.Scopes, isScope),
	}
}

// metadata is {docs_url}; null and {} remove it. Other keys are refused, as everywhere.
func metadata(dst **store.Metadata) field {
	in := func(m *store.Metadata) fields { return fields{text("docs_url", true, &m.DocsURL, isURL)} }
	return field{name: "metadata", in: in(new(store.Metadata)), read: func(o object) {
		v := o.object("metadata")
		if !v.set {
			return
		}
		*dst = nil
		if v.null || len(v.value.values) == 0 {
			return
		}
		*dst = &store.Metadata{}
		for name := range v.value.values {
			if name != "docs_url" {
				v.value.problem(name, "is not a known key")
			}
		}
		in(*dst).read(v.value)
	}}
}
