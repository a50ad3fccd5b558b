// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Grant types and token types.
const (
	grantClientCredentials = "client_credentials"
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
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
	// actorClaims and subjectClaims are those of the request's tokens.
	actorClaims, subjectClaims map[string]any
	record                     *Exchange
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
	Scope        *string `json:"scope,omitempty"`
	RefreshToken string  `json:"refresh_token,omitempty"`
	IDToken      string  `json:"id_token,omitempty"`
}

// token answers the token endpoint. Every request leaves exactly one record.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	record := Exchange{Time: s.Clock(), RequestID: requestID(r)}
	answer, err := s.answer(r, &record)
	if err == nil {
		err = s.Recorder.Record(r.Context(), record)
	}
	if err == nil {
		wire.JSON(w, http.StatusOK, answer)
		return
	}
	e := asRefusal(err)
	record.Error, record.Description = e.Code, e.Description
	if e.Status == http.StatusInternalServerError {
		record.Description = err.Error()
	}
	if err := s.Recorder.Record(r.Context(), record); err != nil {
		e = asRefusal(err)
	}
	s.writeRefusal(w, record.ZoneID, record.RequestID, e)
}

// requestID is the one under which the request is found in the audit log.
func requestID(r *http.Request) string {
	return cmp.Or(audit.RequestOf(r.Context()).ID, store.NewID())
}

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
}

// writeRefusal answers a request of a client with an error.
func (s *server) writeRefusal(w http.ResponseWriter, zoneID, requestID string, e *refusal) {
	e.RequestID = requestID
	noStore(w)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Issuers.Of(zoneID)+`"`)
	}
	if e.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if e.RetryAfter != "" {
		w.Header().Set("Retry-After", e.RetryAfter)
	}
	writeRefusal(w, e)
}

func writeRefusal(w http.ResponseWriter, e *refusal) { wire.JSON(w, e.Status, e) }

func wrongMethod() error {
	e := invalidRequest("the endpoint accepts POST only")
	e.Status = http.StatusMethodNotAllowed
	return e
}

func (s *server) answer(r *http.Request, record *Exchange) (*tokenResponse, error) {
	zone, err := s.zoneOf(r)
	if err != nil {
		return nil, err
	}
	record.ZoneID = zone.ID
	if r.Method != http.MethodPost {
		return nil, wrongMethod()
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
	if c.client, err = s.authenticate(r.Context(), zone.ID, r, f); err != nil {
		return nil, err
	}
	record.Application, record.ClientID = c.client.application.Identifier, c.client.id()
	if subject := c.client.credential.Subject; subject != nil {
		record.Workload = *subject
	}
	if c.client.public && !grant.public {
		return nil, refuse("unauthorized_client", "A client without a secret may use %s and %s only",
			grantAuthorizationCode, grantRefreshToken)
	}
	record.Resource = f["resource"]
	if c.scopes, err = f.scopes(); err != nil {
		return nil, err
	}
	record.Requested = c.scopes
	return grant.serve(r.Context(), c)
}

// grantType is a way to get a token.
type grantType struct {
	serve func(context.Context, call) (*tokenResponse, error)
	// public is true when a client that cannot keep a secret may use it.
	public bool
}

// grantTypes are the ones that there are.
var grantTypes = []string{grantAuthorizationCode, grantRefreshToken, grantClientCredentials, grantTokenExchange}

func (s *server) grant(name string) (grantType, error) {
	switch name {
	case grantAuthorizationCode:
		return grantType{serve: s.authorizationCode, public: true}, nil
	case grantRefreshToken:
		return grantType{serve: s.refresh, public: true}, nil
	case grantClientCredentials:
		return grantType{serve: s.clientCredentials}, nil
	case grantTokenExchange:
		return grantType{serve: s.exchange}, nil
	case "":
		return grantType{}, invalidRequest("grant_type is required")
	default:
		return grantType{}, refuse("unsupported_grant_type", "grant_type must be one of %s", strings.Join(grantTypes, ", "))
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
