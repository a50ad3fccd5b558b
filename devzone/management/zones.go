// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

type zoneView struct {
	base
	OwnerType                      string               `json:"owner_type"`
	Name                           string               `json:"name"`
	Description                    *string              `json:"description"`
	RequiresInvitation             bool                 `json:"requires_invitation"`
	DefaultMCPGatewayApplicationID *string              `json:"default_mcp_gateway_application_id,omitempty"`
	DefaultResourceID              *string              `json:"default_resource_id,omitempty"`
	UserIdentityProviderID         *string              `json:"user_identity_provider_id,omitempty"`
	EncryptionKey                  *store.EncryptionKey `json:"encryption_key,omitempty"`
	LoginFlow                      *string              `json:"login_flow,omitempty"`
	Protocols                      zoneProtocols        `json:"protocols"`
}

type zoneProtocols struct {
	OAuth2 zoneOAuth2 `json:"oauth2"`
	OpenID zoneOpenID `json:"openid"`
}

type zoneOAuth2 struct {
	Issuer                      string `json:"issuer"`
	AuthorizationEndpoint       string `json:"authorization_endpoint"`
	AuthorizationServerMetadata string `json:"authorization_server_metadata"`
	TokenEndpoint               string `json:"token_endpoint"`
	RegistrationEndpoint        string `json:"registration_endpoint"`
	JWKSURI                     string `json:"jwks_uri"`
	RedirectURI                 string `json:"redirect_uri"`
	DCREnabled                  bool   `json:"dcr_enabled"`
	PKCERequired                bool   `json:"pkce_required"`

	CIMD store.ClientDocuments `json:"cimd"`
}

type zoneOpenID struct {
	ProviderConfiguration string `json:"provider_configuration"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
}

// zones are the one kind that is not in a zone.
var zones = kind[store.Zone]{
	shape:   legacy,
	param:   "zone",
	expands: []string{"permissions"},
	shown:   []string{"expand[]"},
	table:   func(tx *store.Tx) *store.Table[store.Zone] { return tx.Zones },
	view:    func(c *call, z store.Zone) any { return c.zoneView(z) },
	empty: func(*call) store.Zone {
		return store.Zone{RequiresInvitation: true, DCREnabled: true, PKCERequired: true}
	},
	fields:  zoneFields,
	filters: filters[store.Zone]{"slug": is(func(z store.Zone) string { return z.Slug })},
	insert: func(c *call, z store.Zone) (store.Zone, error) {
		z, err := c.tx.CreateZone(z, c.Issuers.Of)
		if err == nil {
			_, err = policy.Install(c.tx, z.ID)
		}
		return z, err
	},
	remove: func(c *call, z store.Zone) error {
		if z.ID == c.Issuers.DefaultZone() {
			return forbidden("the server's default zone cannot be deleted")
		}
		return c.tx.DeleteZone(z.ID)
	},
}

func zoneFields(c *call, z *store.Zone, creating bool) fields {
	out := fields{
		text("name", creating, &z.Name, isName),
		nullableText("description", &z.Description, isDescription),
		flag("requires_invitation", &z.RequiresInvitation),
		nullableText("login_flow", &z.LoginFlow, isOneOf("default", "identifier_first")),
		nested("encryption_key", &z.EncryptionKey, func(k *store.EncryptionKey) fields {
			return fields{text("arn", true, &k.ARN, isNotEmpty), text("type", true, &k.Type, isOneOf("aws"))}
		}),
		group("protocols", func() {}, group("oauth2", func() { z.DCREnabled, z.PKCERequired = true, true },
			flag("dcr_enabled", &z.DCREnabled),
			flag("pkce_required", &z.PKCERequired),
			group("cimd", func() { z.CIMD = store.ClientDocuments{} },
				flag("enabled", &z.CIMD.Enabled),
				texts("allowed_client_ids", &z.CIMD.AllowedClientIDs, isURL)),
		)),
	}
	if creating {
		// There is no gateway here.
		return append(out, ignored[bool]("default_mcp_gateway_application", "a boolean"))
	}
	return append(out,
		nullableText("default_mcp_gateway_application_id", &z.DefaultGatewayID, exists(c.tx.Applications, z.ID, "application")),
		nullableText("default_resource_id", &z.DefaultResourceID, exists(c.tx.Resources, z.ID, "resource")),
		nullableText("user_identity_provider_id", &z.UserIdentityProviderID, exists(c.tx.Providers, z.ID, "provider")))
}

func (s *server) zoneView(z store.Zone) zoneView {
	iss := s.Issuers.Of(z.ID)
	return zoneView{
		base:                           s.base(z.Meta),
		OwnerType:                      store.OwnerCustomer,
		Name:                           z.Name,
		Description:                    z.Description,
		RequiresInvitation:             z.RequiresInvitation,
		DefaultMCPGatewayApplicationID: z.DefaultGatewayID,
		DefaultResourceID:              z.DefaultResourceID,
		UserIdentityProviderID:         z.UserIdentityProviderID,
		EncryptionKey:                  z.EncryptionKey,
		LoginFlow:                      z.LoginFlow,
		Protocols: zoneProtocols{
			OAuth2: zoneOAuth2{
				Issuer:                      iss,
				AuthorizationEndpoint:       iss + issuer.AuthorizePath,
				AuthorizationServerMetadata: iss + issuer.OAuthMetadataPath,
				TokenEndpoint:               iss + issuer.TokenPath,
				RegistrationEndpoint:        iss + issuer.RegistrationPath,
				JWKSURI:                     iss + issuer.JWKSPath,
				RedirectURI:                 iss + issuer.RedirectPath,
				DCREnabled:                  z.DCREnabled,
				PKCERequired:                z.PKCERequired,
				CIMD:                        store.ClientDocuments{Enabled: z.CIMD.Enabled, AllowedClientIDs: append([]string{}, z.CIMD.AllowedClientIDs...)},
			},
			OpenID: zoneOpenID{
				ProviderConfiguration: iss + issuer.OpenIDMetadataPath,
				UserinfoEndpoint:      iss + issuer.UserinfoPath,
			},
		},
	}
}
