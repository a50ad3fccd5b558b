// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// Grant types and token types.
const (
	grantClientCredentials = "client_credentials"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"

	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT            = "urn:ietf:params:oauth:token-type:jwt"
	typeSubstituteUser = "urn:keycard:params:oauth:token-type:substitute-user"
)

// call is one authenticated token request.
type call struct {
	zone   store.Zone
	client client
	form   form
	scopes []string
	// permitted are the scopes that the policies let through.
	permitted []string
	record    *Exchange
}

// tokenResponse is the success body (RFC 6749, section 5.1; RFC 8693,
// section 2.2.1).
type tokenResponse struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type"`
	ExpiresIn       *int64 `json:"expires_in,omitempty"`
	// Scope is nil when nothing was asked for and nothing given; an empty text
	// says that none of the requested scopes was granted.
	Scope *string `json:"scope,omitempty"`
}

// token answers the token endpoint. Every request leaves exactly one record.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	record := Exchange{Time: s.Clock(), RequestID: store.NewID()}
	answer, err := s.answer(r, &record)
	if err == nil {
		s.Recorder.Record(r.Context(), record)
		writeJSON(w, http.StatusOK, answer)
		return
	}
	e := asRefusal(err)
	e.RequestID = record.RequestID
	record.Error, record.Description = e.Code, e.Description
	if e.Status == http.StatusInternalServerError {
		record.Description = err.Error()
	}
	s.Recorder.Record(r.Context(), record)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Issuers.Of(record.ZoneID)+`"`)
	}
	if e.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if e.RetryAfter != "" {
		w.Header().Set("Retry-After", e.RetryAfter)
	}
	writeJSON(w, e.Status, e)
}

func (s *server) answer(r *http.Request, record *Exchange) (*tokenResponse, error) {
	zone, err := s.zoneOf(r)
	if err != nil {
		return nil, err
	}
	record.ZoneID = zone.ID
	if r.Method != http.MethodPost {
		e := invalidRequest("the token endpoint accepts POST only")
		e.Status = http.StatusMethodNotAllowed
		return nil, e
	}
	f, err := readForm(r)
	if err != nil {
		return nil, err
	}
	record.GrantType = printable(f["grant_type"])
	grant, err := s.grant(f["grant_type"])
	if err != nil {
		return nil, err
	}
	c := call{zone: zone, form: f, record: record}
	if c.client, err = s.authenticate(zone.ID, r, f); err != nil {
		return nil, err
	}
	record.Application, record.ClientID = c.client.application.Identifier, c.client.credential.Identifier
	record.Resource = f["resource"]
	if c.scopes, err = f.scopes(); err != nil {
		return nil, err
	}
	record.Requested = c.scopes
	return grant(r.Context(), c)
}

func (s *server) grant(name string) (func(context.Context, call) (*tokenResponse, error), error) {
	switch name {
	case grantClientCredentials:
		return s.clientCredentials, nil
	case grantTokenExchange:
		return s.exchange, nil
	case "":
		return nil, invalidRequest("grant_type is required")
	default:
		return nil, refuse("unsupported_grant_type", "grant_type must be %s or %s", grantClientCredentials, grantTokenExchange)
	}
}

// response fills in what every success has in common.
func (s *server) response(c call, token string, expires time.Time) *tokenResponse {
	out := &tokenResponse{AccessToken: token, TokenType: "Bearer"}
	if scope := strings.Join(c.record.Granted, " "); scope != "" || len(c.scopes) > 0 {
		out.Scope = &scope
	}
	if !s.OmitExpiresIn {
		left := max(0, int64(expires.Sub(s.Clock())/time.Second))
		out.ExpiresIn = &left
	}
	return out
}
