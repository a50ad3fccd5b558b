// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"

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

func (s *server) providerRoutes() {
	collection[store.Provider, *store.Provider]{
		server: s,
		legacy: true,
		table:  func(tx *store.Tx) *store.Table[store.Provider, *store.Provider] { return tx.Providers },
		meta:   func(p store.Provider) store.Meta { return p.Meta },
		view:   func(_ *store.Tx, p store.Provider) any { return s.providerView(p) },
		read:   readProvider,
		frozen: func(p store.Provider) bool { return p.OwnerType == store.OwnerPlatform },
		empty: func(zoneID string) store.Provider {
			return store.Provider{
				Meta:      store.Meta{ZoneID: zoneID},
				OwnerType: store.OwnerCustomer, Type: store.ProviderExternal,
			}
		},
		filter: filterProviders,
		create: func(tx *store.Tx, p store.Provider) (store.Provider, error) { return tx.Providers.Insert(p) },
		remove: func(tx *store.Tx, p store.Provider) error { return tx.DeleteProvider(p.ZoneID, p.ID) },
	}.routes("providers")
}

func filterProviders(q url.Values) (func(store.Provider) bool, error) {
	kind := q.Get("type")
	if text := isOneOf("", store.ProviderExternal, store.ProviderVault, store.ProviderSTS)(kind); text != "" {
		return nil, badRequest("type: must be one of %s, %s, %s",
			store.ProviderExternal, store.ProviderVault, store.ProviderSTS)
	}
	return func(p store.Provider) bool {
		return equals(q.Get("identifier"), p.Identifier) && equals(q.Get("slug"), p.Slug) && equals(kind, p.Type)
	}, nil
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

func readProvider(_ *store.Tx, o object, p *store.Provider, creating bool) {
	o.text("identifier", creating, &p.Identifier, isIdentifier)
	o.text("name", creating, &p.Name, isName)
	o.nullableText("description", &p.Description, isDescription)
	o.nullableText("client_id", &p.ClientID, isNotEmpty)
	o.nullableText("client_secret", &p.ClientSecret, isNotEmpty)
	readMetadata(o, &p.Metadata)
	protocols := o.object("protocols")
	if !protocols.set {
		return
	}
	if protocols.null {
		p.Protocols = nil
		return
	}
	var next store.ProviderProtocols
	if p.Protocols != nil {
		next = *p.Protocols
	}
	readProviderOAuth2(protocols.value, &next, p.Identifier)
	readProviderOpenID(protocols.value, &next)
	p.Protocols = &next
}

// readProviderOAuth2 changes a copy, because rows share what they point to.
func readProviderOAuth2(protocols object, p *store.ProviderProtocols, identifier string) {
	f := protocols.object("oauth2")
	if !f.set {
		return
	}
	if f.null {
		p.OAuth2 = nil
		return
	}
	next := store.ProviderOAuth2{Issuer: identifier}
	if p.OAuth2 != nil {
		next = *p.OAuth2
	}
	o := f.value
	o.text("issuer", false, &next.Issuer, isNotEmpty)
	o.nullableText("authorization_endpoint", &next.AuthorizationEndpoint, isURL)
	o.nullableText("token_endpoint", &next.TokenEndpoint, isURL)
	o.nullableText("registration_endpoint", &next.RegistrationEndpoint, isURL)
	o.nullableText("jwks_uri", &next.JWKSURI, isURL)
	o.stringMap("authorization_parameters", &next.AuthorizationParameters)
	o.nullableFlag("authorization_resource_enabled", &next.AuthorizationResourceEnabled)
	o.nullableText("authorization_resource_parameter", &next.AuthorizationResourceParameter, isNotEmpty)
	o.list("code_challenge_methods_supported", &next.CodeChallengeMethodsSupported, isNotEmpty)
	o.nullableText("scope_parameter", &next.ScopeParameter, isNotEmpty)
	o.nullableText("scope_separator", &next.ScopeSeparator, isNotEmpty)
	o.list("scopes_supported", &next.ScopesSupported, isScope)
	o.nullableText("token_response_access_token_pointer", &next.AccessTokenPointer, isNotEmpty)
	p.OAuth2 = &next
}

func readProviderOpenID(protocols object, p *store.ProviderProtocols) {
	f := protocols.object("openid")
	if !f.set {
		return
	}
	if f.null {
		p.OpenID = nil
		return
	}
	var next store.ProviderOpenID
	if p.OpenID != nil {
		next = *p.OpenID
	}
	f.value.nullableText("user_identifier_claim", &next.UserIdentifierClaim, isNotEmpty)
	f.value.nullableText("userinfo_endpoint", &next.UserinfoEndpoint, isURL)
	p.OpenID = &next
}

// readMetadata reads {docs_url}; null and {} remove it.
func readMetadata(o object, dst **store.Metadata) {
	f := o.object("metadata")
	if !f.set {
		return
	}
	*dst = nil
	if f.null || len(f.value.fields) == 0 {
		return
	}
	var m store.Metadata
	f.value.text("docs_url", true, &m.DocsURL, isURL)
	f.value.onlyKeys("docs_url")
	*dst = &m
}
