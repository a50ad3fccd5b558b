// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Owner types of management objects. Platform-owned objects cannot be changed or deleted.
const (
	OwnerPlatform = "platform"
	OwnerCustomer = "customer"
)

// ProviderTypeExternal is the type of a provider that brokers an upstream OAuth server.
const ProviderTypeExternal = "external"

// Metadata is the metadata of applications, resources and providers: the API admits one key.
type Metadata struct {
	DocsURL string `json:"docs_url,omitempty"`
}

// UnmarshalJSON takes whatever else a zone may hold for empty metadata, lest one odd object make a whole
// list unreadable.
func (m *Metadata) UnmarshalJSON(data []byte) error {
	var wire struct {
		DocsURL string `json:"docs_url"`
	}
	*m = Metadata{}
	if json.Unmarshal(data, &wire) == nil {
		m.DocsURL = wire.DocsURL
	}
	return nil
}

// Provider is a credential provider of a zone (/zones/{zone}/providers). Its client secret cannot be read.
type Provider struct {
	ID          string `json:"id"`
	ZoneID      string `json:"zone_id"`
	Slug        string `json:"slug"`
	OwnerType   string `json:"owner_type"`
	Type        string `json:"type"`
	Identifier  string `json:"identifier"`
	Name        string `json:"name"`
	Description string `json:"description"`
	ClientID    string `json:"client_id"`
	// ClientSecretSet tells whether the zone has a client secret; nil when the zone does not say.
	ClientSecretSet *bool             `json:"client_secret_set"`
	Metadata        Metadata          `json:"metadata"`
	Protocols       ProviderProtocols `json:"protocols"`
}

func (p Provider) objectID() string { return p.ID }

// ProviderProtocols holds the protocol settings of a provider.
type ProviderProtocols struct {
	OAuth2 ProviderOAuth2 `json:"oauth2"`
}

// ProviderOAuth2 are the upstream OAuth settings of a provider. Empty members are left out of a create
// request; the zone then applies its defaults, or discovers the endpoints from the issuer.
type ProviderOAuth2 struct {
	Issuer                          string            `json:"issuer,omitempty"`
	AuthorizationEndpoint           string            `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                   string            `json:"token_endpoint,omitempty"`
	JWKSURI                         string            `json:"jwks_uri,omitempty"`
	AuthorizationParameters         map[string]string `json:"authorization_parameters,omitempty"`
	AuthorizationResourceEnabled    *bool             `json:"authorization_resource_enabled,omitempty"`
	AuthorizationResourceParameter  string            `json:"authorization_resource_parameter,omitempty"`
	CodeChallengeMethodsSupported   []string          `json:"code_challenge_methods_supported,omitempty"`
	ScopeParameter                  string            `json:"scope_parameter,omitempty"`
	ScopeSeparator                  string            `json:"scope_separator,omitempty"`
	ScopesSupported                 []string          `json:"scopes_supported,omitempty"`
	TokenResponseAccessTokenPointer string            `json:"token_response_access_token_pointer,omitempty"`
}

// ProviderCreate is the body of a create request. Identifier and Name are required.
type ProviderCreate struct {
	Identifier, Name, Description string
	ClientID                      string
	ClientSecret                  redacted.String
	Metadata                      Metadata
	OAuth2                        ProviderOAuth2
}

// ProviderPatch is the body of a PATCH request: what is absent stays as it is.
type ProviderPatch struct {
	Identifier, Name, Description Field[string]
	ClientID                      Field[string]
	ClientSecret                  Field[redacted.String]
	Metadata                      Field[Metadata]
	OAuth2                        ProviderOAuth2Patch
}

// IsZero reports whether the patch changes nothing, so that it need not be sent.
func (p ProviderPatch) IsZero() bool { return isZero(p) }

// ProviderOAuth2Patch is the protocols.oauth2 member of a ProviderPatch. Issuer cannot be null.
type ProviderOAuth2Patch struct {
	Issuer                          Field[string]            `json:"issuer,omitzero"`
	AuthorizationEndpoint           Field[string]            `json:"authorization_endpoint,omitzero"`
	TokenEndpoint                   Field[string]            `json:"token_endpoint,omitzero"`
	JWKSURI                         Field[string]            `json:"jwks_uri,omitzero"`
	AuthorizationParameters         Field[map[string]string] `json:"authorization_parameters,omitzero"`
	AuthorizationResourceEnabled    Field[bool]              `json:"authorization_resource_enabled,omitzero"`
	AuthorizationResourceParameter  Field[string]            `json:"authorization_resource_parameter,omitzero"`
	ScopeParameter                  Field[string]            `json:"scope_parameter,omitzero"`
	ScopeSeparator                  Field[string]            `json:"scope_separator,omitzero"`
	ScopesSupported                 Field[[]string]          `json:"scopes_supported,omitzero"`
	TokenResponseAccessTokenPointer Field[string]            `json:"token_response_access_token_pointer,omitzero"`
}

// providerBody is a create or PATCH body on the wire, with the secret revealed.
type providerBody struct {
	Identifier   Field[string]   `json:"identifier,omitzero"`
	Name         Field[string]   `json:"name,omitzero"`
	Description  Field[string]   `json:"description,omitzero"`
	ClientID     Field[string]   `json:"client_id,omitzero"`
	ClientSecret Field[string]   `json:"client_secret,omitzero"`
	Metadata     Field[Metadata] `json:"metadata,omitzero"`
	Protocols    map[string]any  `json:"protocols,omitempty"`
}

func (p ProviderCreate) body() providerBody {
	body := providerBody{
		Identifier:   Set(p.Identifier),
		Name:         Set(p.Name),
		Description:  setUnlessEmpty(p.Description),
		ClientID:     setUnlessEmpty(p.ClientID),
		ClientSecret: setUnlessEmpty(p.ClientSecret.Reveal()),
	}
	if p.Metadata != (Metadata{}) {
		body.Metadata = Set(p.Metadata)
	}
	if !isZero(p.OAuth2) {
		body.Protocols = map[string]any{"oauth2": p.OAuth2}
	}
	return body
}

func (p ProviderPatch) body() providerBody {
	body := providerBody{
		Identifier:   p.Identifier,
		Name:         p.Name,
		Description:  p.Description,
		ClientID:     p.ClientID,
		ClientSecret: reveal(p.ClientSecret),
		Metadata:     p.Metadata,
	}
	if !isZero(p.OAuth2) {
		body.Protocols = map[string]any{"oauth2": p.OAuth2}
	}
	return body
}

// FindProvider looks a provider up by its identifier, and returns false when the zone has none.
func (m *ManagementClient) FindProvider(ctx context.Context, zoneID, identifier string) (Provider, bool, error) {
	const op = "looking up the provider"
	if identifier == "" {
		return Provider{}, false, misconfigured(op, "the identifier is empty")
	}
	return find(ctx, m, op, url.Values{"identifier": {identifier}},
		func(p Provider) bool { return p.Identifier == identifier }, "zones", zoneID, "providers")
}

// ListProviders returns the zone's providers that keep admits.
func (m *ManagementClient) ListProviders(ctx context.Context, zoneID string, keep func(Provider) bool) ([]Provider, error) {
	return listAll(ctx, m, "listing providers", url.Values{}, keep, "zones", zoneID, "providers")
}

// GetProvider reads one provider; IsNotFound tells when it does not exist.
func (m *ManagementClient) GetProvider(ctx context.Context, zoneID, id string) (Provider, error) {
	return get[Provider](ctx, m, "getting the provider", "zones", zoneID, "providers", id)
}

// CreateProvider registers a provider; IsConflict tells when its identifier is taken.
func (m *ManagementClient) CreateProvider(ctx context.Context, zoneID string, p ProviderCreate) (Provider, error) {
	const op = "creating the provider"
	if p.Identifier == "" || p.Name == "" {
		return Provider{}, misconfigured(op, "the identifier or name is empty")
	}
	return exchangeObject[Provider](ctx, m, request{
		op: op, method: http.MethodPost, path: []string{"zones", zoneID, "providers"},
		body: p.body(), secrets: []redacted.String{p.ClientSecret},
	})
}

// PatchProvider changes a provider and returns it as it is afterwards.
func (m *ManagementClient) PatchProvider(ctx context.Context, zoneID, id string, p ProviderPatch) (Provider, error) {
	return exchangeObject[Provider](ctx, m, request{
		op: "updating the provider", method: http.MethodPatch, path: []string{"zones", zoneID, "providers", id},
		body: p.body(), secrets: []redacted.String{p.ClientSecret.value},
	})
}

// DeleteProvider deletes a provider. It is no error when the provider is gone already.
func (m *ManagementClient) DeleteProvider(ctx context.Context, zoneID, id string) error {
	return remove(ctx, m, "deleting the provider", "zones", zoneID, "providers", id)
}
