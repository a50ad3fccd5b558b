// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/discovery"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Config is what the OAuth surface works with. Store, Issuers, Broker, Clock,
// Recorder, Policies, Client and TokenLifetime are required.
type Config struct {
	Store    *store.Store
	Issuers  *issuer.Map
	Broker   *broker.Broker
	Clock    func() time.Time
	Recorder Recorder
	Policies *policy.Engine
	// Client fetches what clients and platforms publish: key sets and metadata.
	Client *http.Client
	// TokenLifetime is the life of a token that the zone signs, unless the
	// resource has its own.
	TokenLifetime time.Duration
	// OmitExpiresIn leaves expires_in out of token responses, which RFC 6749
	// permits.
	OmitExpiresIn bool
	// UnauthorizedClientDenial answers a forbidden impersonation with
	// unauthorized_client, as the SDKs' comments say, and not with access_denied,
	// as the hosted service was seen to do.
	UnauthorizedClientDenial bool
}

type server struct {
	Config
	keys      keyring
	documents *discovery.Fetcher
	seen      replays
}

// New returns the handler of every zone's OAuth surface.
func New(c Config) http.Handler {
	s := &server{Config: c, keys: keyring{store: c.Store}, documents: discovery.New(c.Client, c.Clock)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+issuer.OAuthMetadataPath, s.metadata)
	mux.HandleFunc("GET "+issuer.OpenIDMetadataPath, s.metadata)
	mux.HandleFunc("GET "+issuer.JWKSPath, s.jwks)
	mux.HandleFunc(issuer.TokenPath, s.token)
	mux.HandleFunc(issuer.RevocationPath, s.clientEndpoint(s.revocation))
	mux.HandleFunc(issuer.IntrospectionPath, s.clientEndpoint(s.introspection))
	mux.HandleFunc(issuer.RegistrationPath, s.registration)
	mux.HandleFunc(issuer.UserinfoPath, s.userinfo)
	return mux
}

// zoneOf returns the zone that the request's Host names.
func (s *server) zoneOf(r *http.Request) (store.Zone, error) {
	var zone store.Zone
	err := s.Store.View(func(tx *store.Tx) error {
		id := s.Issuers.Zone(r.Host, func(id string) bool {
			_, err := tx.Zones.Get("", id)
			return err == nil
		})
		var err error
		zone, err = tx.Zones.Get("", id)
		return err
	})
	return zone, err
}

// metadata answers both well-known documents with the same body (RFC 8414).
func (s *server) metadata(w http.ResponseWriter, r *http.Request) {
	zone, err := s.zoneOf(r)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	iss := s.Issuers.Of(zone.ID)
	document := map[string]any{
		"issuer":                                iss,
		"authorization_endpoint":                iss + issuer.AuthorizePath,
		"token_endpoint":                        iss + issuer.TokenPath,
		"jwks_uri":                              iss + issuer.JWKSPath,
		"userinfo_endpoint":                     iss + issuer.UserinfoPath,
		"revocation_endpoint":                   iss + issuer.RevocationPath,
		"introspection_endpoint":                iss + issuer.IntrospectionPath,
		"scopes_supported":                      identityScopes,
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 grantTypes,
		"token_endpoint_auth_methods_supported": authMethods,
		"token_endpoint_auth_signing_alg_values_supported": assertionAlgorithms,
		"revocation_endpoint_auth_methods_supported":       authMethods,
		"introspection_endpoint_auth_methods_supported":    authMethods[:3],
		"code_challenge_methods_supported":                 []string{"S256"},
		"subject_types_supported":                          []string{"public"},
		"id_token_signing_alg_values_supported":            []string{"RS256"},
		"claims_supported":                                 []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "email", "email_verified"},
	}
	if zone.DCREnabled {
		document["registration_endpoint"] = iss + issuer.RegistrationPath
	}
	wire.JSON(w, http.StatusOK, document)
}

func (s *server) jwks(w http.ResponseWriter, r *http.Request) {
	zone, err := s.zoneOf(r)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	keys, err := s.keys.public(zone.ID)
	if err != nil {
		refusal := asRefusal(err)
		wire.JSON(w, refusal.Status, refusal)
		return
	}
	wire.JSON(w, http.StatusOK, keys)
}
