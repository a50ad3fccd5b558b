// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys is how many keys a key set may have.
const maxKeys = 50

// configuration is the part of an OpenID provider's metadata that is needed.
type configuration struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

var openID = document[configuration]{what: "OpenID configuration", parse: func(body []byte) (configuration, error) {
	var m configuration
	if json.Unmarshal(body, &m) != nil {
		return m, errNoJSON
	}
	if !absolute(m.JWKSURI) {
		return m, errors.New("its jwks_uri is no absolute http or https URL")
	}
	return m, nil
}}

var errNoJSON = errors.New("it is no JSON object of the expected form")

// keySet is a parsed JWKS document.
var keySet = document[[]jose.JSONWebKey]{what: "key set", parse: ParseKeySet}

// ParseKeySet reads a JWK Set (RFC 7517, section 5). Keys that are of an unknown
// type, private, symmetric or not for signatures are left out.
func ParseKeySet(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
			continue
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Keys returns the keys of the set at the URI that may have made a signature
// with the key id: those with that id, or all when it is empty. An id that the
// set does not have makes the fetcher look again, at most once in ten seconds.
// It fails with a *FetchError or the context's error.
func (f *Fetcher) Keys(ctx context.Context, uri, kid string) ([]jose.JSONWebKey, error) {
	all, err := load(ctx, f, keySet, uri, maxAge)
	if err != nil {
		return nil, err
	}
	found := withID(all, kid)
	if len(found) > 0 {
		return found, nil
	}
	if all, err = load(ctx, f, keySet, uri, retryAfter); err != nil {
		return nil, err
	}
	return withID(all, kid), nil
}

func withID(keys []jose.JSONWebKey, kid string) []jose.JSONWebKey {
	if kid == "" {
		return keys
	}
	return (&jose.JSONWebKeySet{Keys: keys}).Key(kid)
}

// KeySetURI returns the jwks_uri of an OpenID provider (OpenID Connect Discovery
// 1.0, section 4). The document must name exactly this issuer.
func (f *Fetcher) KeySetURI(ctx context.Context, issuer string) (string, error) {
	m, err := load(ctx, f, openID, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", maxAge)
	if err != nil {
		return "", err
	}
	if m.Issuer != issuer {
		return "", &FetchError{What: openID.what, URL: printable(issuer), Reason: "its issuer is another one"}
	}
	return m.JWKSURI, nil
}

// Client is what a client that is named by a URL says about itself at that URL
// (OAuth Client ID Metadata Document).
type Client struct {
	Name         string
	RedirectURIs []string
	// AuthMethod is token_endpoint_auth_method.
	AuthMethod string
	// JWKSURI is where its keys are, unless they are in Keys.
	JWKSURI string
	Keys    []jose.JSONWebKey
}

// Client fetches the metadata document of a client. The document must name the
// same client_id.
func (f *Fetcher) Client(ctx context.Context, id string) (Client, error) {
	metadata := document[Client]{what: "client metadata document", parse: func(body []byte) (Client, error) {
		return parseClient(body, id)
	}}
	return load(ctx, f, metadata, id, maxAge)
}

func parseClient(body []byte, id string) (Client, error) {
	var m struct {
		ClientID     string          `json:"client_id"`
		Name         string          `json:"client_name"`
		RedirectURIs []string        `json:"redirect_uris"`
		AuthMethod   string          `json:"token_endpoint_auth_method"`
		JWKSURI      string          `json:"jwks_uri"`
		JWKS         json.RawMessage `json:"jwks"`
	}
	if json.Unmarshal(body, &m) != nil {
		return Client{}, errNoJSON
	}
	if m.ClientID != id {
		return Client{}, errors.New("its client_id is another one")
	}
	c := Client{Name: m.Name, RedirectURIs: m.RedirectURIs, AuthMethod: m.AuthMethod, JWKSURI: m.JWKSURI}
	if m.JWKS == nil {
		return c, nil
	}
	var err error
	if c.Keys, err = ParseKeySet(m.JWKS); err != nil {
		return Client{}, fmt.Errorf("its jwks: %w", err)
	}
	return c, nil
}

// KeysOf returns the keys of a client that may have made a signature with the
// key id. See Keys.
func (f *Fetcher) KeysOf(ctx context.Context, c Client, kid string) ([]jose.JSONWebKey, error) {
	if c.JWKSURI != "" {
		return f.Keys(ctx, c.JWKSURI, kid)
	}
	return withID(c.Keys, kid), nil
}
