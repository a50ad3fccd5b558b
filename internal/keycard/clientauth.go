// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const jwtBearerAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ClientAuth is how a client authenticates at a token endpoint: ClientSecretBasic, JWTBearerAssertion or
// PublicClient.
type ClientAuth interface {
	// check names a problem of the credential, or returns "".
	check() string
	// apply puts the credential on a request.
	apply(header http.Header, form url.Values)
	// secrets are the texts that apply adds and that must not come back in an error.
	secrets() []redacted.String
}

// ClientSecretBasic authenticates with a client id and secret in the Authorization header, or, where servers do not agree on
// how to read that, in the form (RFC 6749 section 2.3.1).
type ClientSecretBasic struct {
	ClientID     string
	ClientSecret redacted.String
}

func (a ClientSecretBasic) check() string {
	switch {
	case a.ClientID == "":
		return "the client id is empty"
	case a.ClientSecret.IsZero():
		return "the client secret is empty"
	default:
		return ""
	}
}

func (a ClientSecretBasic) apply(header http.Header, form url.Values) {
	if a.disputed() {
		form.Set("client_id", a.ClientID)
		form.Set("client_secret", a.ClientSecret.Reveal())
		return
	}
	header.Set("Authorization", "Basic "+a.encoded())
}

// disputed tells whether form-encoding would change the id or the secret. RFC 6749 asks for it in the Authorization header,
// Keycard's own clients leave it out, and a server may do either; a form is read the same everywhere.
func (a ClientSecretBasic) disputed() bool {
	pair := a.ClientID + a.ClientSecret.Reveal()
	return url.QueryEscape(pair) != pair
}

func (a ClientSecretBasic) encoded() string {
	return base64.StdEncoding.EncodeToString([]byte(a.ClientID + ":" + a.ClientSecret.Reveal()))
}

func (a ClientSecretBasic) secrets() []redacted.String {
	return []redacted.String{
		a.ClientSecret,
		redacted.New(url.QueryEscape(a.ClientSecret.Reveal())), // as it is in the form
		redacted.New(a.encoded()),
	}
}

// JWTBearerAssertion authenticates with a signed JWT (RFC 7523 section 2.2): a workload's identity token,
// or one signed with the client's own key.
type JWTBearerAssertion struct {
	Assertion redacted.String
	// ClientID is optional: the zone finds the client by the assertion's issuer and subject.
	ClientID string
}

func (a JWTBearerAssertion) check() string {
	if a.Assertion.IsZero() {
		return "the client assertion is empty"
	}
	return ""
}

func (a JWTBearerAssertion) apply(_ http.Header, form url.Values) {
	form.Set("client_assertion_type", jwtBearerAssertion)
	form.Set("client_assertion", a.Assertion.Reveal())
	if a.ClientID != "" {
		form.Set("client_id", a.ClientID)
	}
}

func (a JWTBearerAssertion) secrets() []redacted.String { return []redacted.String{a.Assertion} }

// PublicClient names a client that has no secret (RFC 6749 section 2.1).
type PublicClient struct{ ClientID string }

func (a PublicClient) check() string {
	if a.ClientID == "" {
		return "the client id is empty"
	}
	return ""
}

func (a PublicClient) apply(_ http.Header, form url.Values) { form.Set("client_id", a.ClientID) }

func (PublicClient) secrets() []redacted.String { return nil }
