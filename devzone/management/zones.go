// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"

	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

type zoneView struct {
	base
	ZoneID                         string               `json:"zone_id,omitempty"`
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
}

type zoneOpenID struct {
	ProviderConfiguration string `json:"provider_configuration"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
}

// zoneRoutes registers /zones. Zones are the one kind that is not in a zone,
// so the path parameter is the object's id.
func (s *server) zoneRoutes() {
	zones := s.zones()
	at := func(e endpoint) endpoint {
		return func(r *http.Request) (any, error) {
			r.SetPathValue("id", r.PathValue("zone"))
			r.SetPathValue("zone", "")
			return e(r)
		}
	}
	s.handle("GET /zones", zones.list)
	s.handle("POST /zones", zones.post)
	s.handle("GET /zones/{zone}", at(zones.get))
	s.handle("PATCH /zones/{zone}", at(zones.patch))
	s.handle("DELETE /zones/{zone}", at(zones.delete))
}

func (s *server) zones() collection[store.Zone, *store.Zone] {
	return collection[store.Zone, *store.Zone]{
		server: s,
		legacy: true,
		table:  func(tx *store.Tx) *store.Table[store.Zone, *store.Zone] { return tx.Zones },
		meta:   func(z store.Zone) store.Meta { return z.Meta },
		view:   func(_ *store.Tx, z store.Zone) any { return s.zoneView(z) },
		read:   readZone,
		frozen: func(store.Zone) bool { return false },
		empty: func(string) store.Zone {
			return store.Zone{RequiresInvitation: true, DCREnabled: true, PKCERequired: true}
		},
		filter: func(q url.Values) (func(store.Zone) bool, error) {
			return func(z store.Zone) bool { return equals(q.Get("slug"), z.Slug) }, nil
		},
		create: func(tx *store.Tx, z store.Zone) (store.Zone, error) {
			z, err := tx.CreateZone(z, s.Issuers.Of)
			if err == nil {
				_, err = policy.Install(tx, z.ID)
			}
			return z, err
		},
		remove: func(tx *store.Tx, z store.Zone) error {
			if z.ID == s.Issuers.DefaultZone() {
				return forbidden("the server's default zone cannot be deleted")
			}
			return tx.DeleteZone(z.ID)
		},
	}
}

func readZone(tx *store.Tx, o object, z *store.Zone, creating bool) {
	o.text("name", creating, &z.Name, isName)
	o.nullableText("description", &z.Description, isDescription)
	o.flag("requires_invitation", &z.RequiresInvitation)
	o.nullableText("login_flow", &z.LoginFlow, isOneOf("default", "identifier_first"))
	// Accepted and without effect: there is no gateway here.
	get[bool](o, "default_mcp_gateway_application", "a boolean")
	readEncryptionKey(o, z)
	if !creating {
		o.nullableText("default_mcp_gateway_application_id", &z.DefaultGatewayID, exists(tx.Applications, z.ID, "application"))
		o.nullableText("default_resource_id", &z.DefaultResourceID, exists(tx.Resources, z.ID, "resource"))
		o.nullableText("user_identity_provider_id", &z.UserIdentityProviderID, exists(tx.Providers, z.ID, "provider"))
	}
	protocols := o.object("protocols")
	if !protocols.set || protocols.null {
		return
	}
	oauth2 := protocols.value.object("oauth2")
	if !oauth2.set {
		return
	}
	if oauth2.null {
		z.DCREnabled, z.PKCERequired = true, true
		return
	}
	oauth2.value.flag("dcr_enabled", &z.DCREnabled)
	oauth2.value.flag("pkce_required", &z.PKCERequired)
}

func readEncryptionKey(o object, z *store.Zone) {
	key := o.object("encryption_key")
	switch {
	case !key.set:
	case key.null:
		z.EncryptionKey = nil
	default:
		z.EncryptionKey = &store.EncryptionKey{}
		key.value.text("arn", true, &z.EncryptionKey.ARN, isNotEmpty)
		key.value.text("type", true, &z.EncryptionKey.Type, isOneOf("aws"))
	}
}

// exists is the rule for a field that holds the id of an object of the zone.
func exists[T any, P store.Row[T]](table *store.Table[T, P], zoneID, kind string) func(string) string {
	return func(id string) string {
		if _, err := table.Get(zoneID, id); err != nil {
			return "no " + kind + " of the zone has this id"
		}
		return ""
	}
}

func (s *server) zoneView(z store.Zone) zoneView {
	iss := s.Issuers.Of(z.ID)
	return zoneView{
		base:                           s.base(z.Meta),
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
			},
			OpenID: zoneOpenID{
				ProviderConfiguration: iss + issuer.OpenIDMetadataPath,
				UserinfoEndpoint:      iss + issuer.UserinfoPath,
			},
		},
	}
}
