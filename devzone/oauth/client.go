// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Client authentication methods (RFC 7591, section 2).
const (
	methodBasic         = "client_secret_basic"
	methodPost          = "client_secret_post"
	methodPrivateKeyJWT = "private_key_jwt"
	methodNone          = "none"
)

// authMethods are the ones that a client may authenticate with. A workload's
// token is sent like a private_key_jwt.
var authMethods = []string{methodBasic, methodPost, methodPrivateKeyJWT, methodNone}

// typeJWTBearer is the one client_assertion_type (RFC 7523, section 2.2).
const typeJWTBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// client is a caller of the token endpoint: authenticated, or public.
type client struct {
	credential  store.Credential
	application store.Application
	// userAgentID is set when the client registered itself.
	userAgentID string
	// public is true for a client that cannot keep a secret and has shown none.
	public bool
}

// id is the client_id. A workload has none of its own: its credential's id
// stands for it, as in its token requests.
func (c client) id() string {
	if c.credential.Type == store.CredentialToken {
		return c.credential.ID
	}
	return c.credential.Identifier
}

// presentation is how a client authenticates, and with what.
type presentation struct {
	id, secret string
	// decoded is another reading of a Basic header: the SDKs send both parts as
	// they are, RFC 6749, section 2.3.1, wants them form-urlencoded. Either will do.
	decoded *pair
	// assertion is set instead of a secret.
	assertion string
	// anonymous is true when a client_id is all there is.
	anonymous bool
}

// pair is a client_id with its secret.
type pair struct{ id, secret string }

// names tells whether a client_id is the one presented.
func (p presentation) names(id string) bool {
	return p.id == id || p.decoded != nil && p.decoded.id == id
}

// authenticate finds the caller.
func (s *server) authenticate(ctx context.Context, zoneID string, r *http.Request, f form) (client, error) {
	p, err := present(r, f)
	if err != nil {
		return client{}, err
	}
	var found store.Credential
	switch {
	case p.assertion != "":
		found, err = s.authenticateAssertion(ctx, zoneID, p)
	case p.anonymous:
		found, err = s.authenticatePublic(ctx, zoneID, p.id)
	default:
		found, err = s.authenticateSecret(zoneID, pair{p.id, p.secret})
		if err != nil && p.decoded != nil {
			found, err = s.authenticateSecret(zoneID, *p.decoded)
		}
	}
	if err != nil {
		return client{}, err
	}
	return s.clientOf(found, p.anonymous)
}

func (s *server) clientOf(found store.Credential, public bool) (client, error) {
	c := client{credential: found, public: public}
	err := s.Store.View(func(tx *store.Tx) error {
		if agent, ok := tx.UserAgents.Find(found.ZoneID, found.Identifier); ok {
			c.userAgentID = agent.ID
		}
		var err error
		c.application, err = tx.Applications.Get(found.ZoneID, found.ApplicationID)
		return err
	})
	return c, err
}

// findCredential returns the credential with a client_id.
func (s *server) findCredential(zoneID, id string) (found store.Credential, ok bool) {
	_ = s.Store.View(func(tx *store.Tx) error {
		found, ok = tx.Credentials.Find(zoneID, id)
		return nil
	})
	return found, ok && found.Type != store.CredentialToken
}

func (s *server) authenticateSecret(zoneID string, p pair) (store.Credential, error) {
	found, known := s.findCredential(zoneID, p.id)
	known = known && found.Type == store.CredentialPassword
	// The comparison runs for unknown clients too, so that the time taken does
	// not tell them apart.
	if matches := found.Password.Matches(p.secret); !known || !matches {
		return store.Credential{}, invalidClient("Unknown client or wrong client secret")
	}
	return found, nil
}

// authenticatePublic accepts a client that has no secret: one with a public
// credential, or one whose metadata document says so.
func (s *server) authenticatePublic(ctx context.Context, zoneID, id string) (store.Credential, error) {
	found, known := s.findCredential(zoneID, id)
	switch {
	case known && found.Type == store.CredentialPublic:
		return found, nil
	case known && found.Type == store.CredentialURL:
		document, err := s.documents.Client(ctx, found.Identifier)
		if err != nil {
			return found, unfetched(err)
		}
		if document.AuthMethod == methodNone {
			return found, nil
		}
	}
	return found, errNoAuthentication
}

var errNoAuthentication = invalidClient("Client authentication is required: use " + strings.Join(authMethods[:3], ", ") +
	" or a workload's token as client_assertion")

// present reads the client's credentials, which must come in one way only
// (RFC 6749, section 2.3).
func present(r *http.Request, f form) (presentation, error) {
	p := presentation{id: f["client_id"], secret: f["client_secret"], assertion: f["client_assertion"]}
	header := r.Header.Get("Authorization")
	ways := 0
	for _, way := range []string{header, p.secret, p.assertion} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways > 1 || len(r.Header.Values("Authorization")) > 1:
		return p, invalidRequest("the client must authenticate in one way only")
	case header != "":
		b, err := basic(header)
		if err == nil && p.id != "" && !b.names(p.id) {
			err = invalidRequest("client_id differs from the one in the Authorization header")
		}
		return b, err
	case p.assertion != "" || f["client_assertion_type"] != "":
		return p, checkAssertionType(f)
	case p.id == "":
		return p, errNoAuthentication
	}
	p.anonymous = p.secret == ""
	return p, nil
}

func checkAssertionType(f form) error {
	switch {
	case f["client_assertion"] == "":
		return invalidRequest("client_assertion is required with client_assertion_type")
	case f["client_assertion_type"] == "":
		return invalidRequest("client_assertion_type is required with client_assertion: it must be %s", typeJWTBearer)
	case f["client_assertion_type"] != typeJWTBearer:
		return invalidClient("client_assertion_type must be " + typeJWTBearer)
	}
	return nil
}

// basic reads an Authorization header.
func basic(header string) (presentation, error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return presentation{}, invalidClient("the Authorization header must use the Basic scheme")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return presentation{}, invalidClient("the Authorization header is not base64")
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok || id == "" {
		return presentation{}, invalidClient("the Authorization header must hold client_id:client_secret")
	}
	p := presentation{id: id, secret: secret}
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	if err1 == nil && err2 == nil && (id != p.id || secret != p.secret) {
		p.decoded = &pair{id, secret}
	}
	return p, nil
}
