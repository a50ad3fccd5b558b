// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keycardai/keycard-operator/devzone/discovery"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

const (
	// maxAssertion is the largest client_assertion in bytes.
	maxAssertion = 16 << 10
	// maxJTI is the longest accepted jti of a client's own assertion in bytes.
	maxJTI = 256
	// maxAssertionLife is how far ahead the exp of a client's own assertion may
	// be, because its jti is remembered until then.
	maxAssertionLife = time.Hour
	// clockSkew is how far the clock of an issuer may be ahead.
	clockSkew = time.Minute
)

// assertionAlgorithms are the signatures that an assertion may have. There is no
// HMAC among them: a client's secret is no key.
var assertionAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// assertion is a parsed client_assertion whose signature has not been checked.
type assertion struct {
	token  *jwt.JSONWebToken
	claims jwt.Claims
	header jose.Header
}

// parseAssertion reads a client_assertion.
func parseAssertion(text string) (assertion, error) {
	var a assertion
	if len(text) > maxAssertion {
		return a, badAssertion("is larger than %d bytes", maxAssertion)
	}
	token, err := jwt.ParseSigned(text, assertionAlgorithms)
	if _, unexpected := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); unexpected {
		return a, badAssertion("is signed with an algorithm that is not accepted: use one of %s", algorithmNames())
	}
	if err != nil || len(token.Headers) != 1 {
		return a, badAssertion("is malformed: it must be a signed JWT")
	}
	a.token, a.header = token, token.Headers[0]
	if token.UnsafeClaimsWithoutVerification(&a.claims) != nil {
		return a, badAssertion("is malformed: its claims are not those of a JWT")
	}
	if a.claims.Issuer == "" || a.claims.Subject == "" {
		return a, badAssertion("must have the claims iss and sub")
	}
	return a, nil
}

func algorithmNames() string {
	names := make([]string, len(assertionAlgorithms))
	for i, a := range assertionAlgorithms {
		names[i] = string(a)
	}
	return strings.Join(names, ", ")
}

func badAssertion(format string, args ...any) *refusal {
	e := refuse("invalid_client", "client_assertion "+format, args...)
	e.Status = invalidClient("").Status
	return e
}

// verify checks the signature with the keys of the issuer, and the claims that
// every assertion must have.
func (a assertion) verify(keys []jose.JSONWebKey, audiences []string, now time.Time) error {
	signed := slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool {
		return (key.Algorithm == "" || key.Algorithm == a.header.Algorithm) && a.token.Claims(key) == nil
	})
	c := a.claims
	switch {
	case len(keys) == 0:
		return badAssertion("has the kid %q, which the key set of its issuer does not have", printable(a.header.KeyID))
	case !signed:
		return badAssertion("has a signature that no key of its issuer made")
	case c.Expiry == nil:
		return badAssertion("must have the claim exp")
	case !now.Before(c.Expiry.Time()):
		return badAssertion("has expired")
	case c.NotBefore != nil && now.Add(clockSkew).Before(c.NotBefore.Time()):
		return badAssertion("is not valid yet: its nbf is in the future")
	case c.IssuedAt != nil && now.Add(clockSkew).Before(c.IssuedAt.Time()):
		return badAssertion("is not valid yet: its iat is in the future")
	case !slices.ContainsFunc(audiences, c.Audience.Contains):
		return badAssertion("is for another audience: its aud must be %s or %s", audiences[0], audiences[len(audiences)-1])
	}
	return nil
}

// audiences are what an assertion for a zone may be addressed to.
func (s *server) audiences(zoneID string) []string {
	iss := s.Issuers.Of(zoneID)
	return []string{iss, iss + "/", iss + issuer.TokenPath}
}

// authenticateAssertion finds the client by its own JWT, in which iss and sub
// are its client_id (RFC 7523, section 3), or by a token that the platform of a
// workload issued.
func (s *server) authenticateAssertion(ctx context.Context, zoneID string, p presentation) (store.Credential, error) {
	a, err := parseAssertion(p.assertion)
	if err != nil {
		return store.Credential{}, err
	}
	if a.claims.Issuer != a.claims.Subject {
		return s.authenticateWorkload(ctx, zoneID, a, p.id)
	}
	found, known := s.findCredential(zoneID, a.claims.Issuer)
	if !known || (found.Type != store.CredentialPublicKey && found.Type != store.CredentialURL) {
		return found, badAssertion("names no client that authenticates with a key: iss and sub must be its client_id")
	}
	if p.id != "" && p.id != found.Identifier {
		return found, badAssertion("is of another client than client_id")
	}
	keys, err := s.clientKeys(ctx, found, a.header.KeyID)
	if err != nil {
		return found, unfetched(err)
	}
	if err := a.verify(keys, s.audiences(zoneID), s.Clock()); err != nil {
		return found, err
	}
	return found, s.once(found, a.claims)
}

// clientKeys fetches the keys of a client that may have made a signature.
func (s *server) clientKeys(ctx context.Context, c store.Credential, kid string) ([]jose.JSONWebKey, error) {
	if c.Type == store.CredentialPublicKey {
		return s.documents.Keys(ctx, c.JWKSURI, kid)
	}
	document, err := s.documents.Client(ctx, c.Identifier)
	if err != nil {
		return nil, err
	}
	return s.documents.KeysOf(ctx, document, kid)
}

// once refuses an assertion that was used before. A client makes a new one for
// every request.
func (s *server) once(c store.Credential, claims jwt.Claims) error {
	now := s.Clock()
	switch {
	case claims.Expiry.Time().After(now.Add(maxAssertionLife)):
		return badAssertion("lives too long: its exp must be at most %s ahead", maxAssertionLife)
	case claims.ID == "":
		return badAssertion("must have the claim jti")
	case len(claims.ID) > maxJTI:
		return badAssertion("has a jti of more than %d bytes", maxJTI)
	case !s.seen.add(c.ID+"\x00"+claims.ID, claims.Expiry.Time(), now):
		return badAssertion("was used before: every request needs one with a new jti")
	}
	return nil
}

// unfetched turns what kept the zone from looking at an assertion into an answer.
func unfetched(err error) error {
	e, ok := errors.AsType[*discovery.FetchError](err)
	if !ok {
		return err
	}
	if e.Temporary {
		return unavailable("The client could not be authenticated: " + e.Error())
	}
	return invalidClient("The client could not be authenticated: " + e.Error())
}
