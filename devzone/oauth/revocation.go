// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// clientEndpoint is an endpoint that, like the token endpoint, takes a form from
// a client and answers with JSON, or with an empty body when there is nothing to
// say.
func (s *server) clientEndpoint(serve func(context.Context, call) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request := requestID(r)
		zone, err := s.zoneOf(r)
		var answer any
		if err == nil {
			answer, err = s.serveClient(r, zone, serve)
		}
		if err != nil {
			s.writeRefusal(w, zone.ID, request, asRefusal(err))
			return
		}
		noStore(w)
		if answer == nil {
			w.WriteHeader(http.StatusOK)
			return
		}
		wire.JSON(w, http.StatusOK, answer)
	}
}

func (s *server) serveClient(r *http.Request, zone store.Zone, serve func(context.Context, call) (any, error)) (any, error) {
	if r.Method != http.MethodPost {
		return nil, wrongMethod()
	}
	f, err := readForm(r)
	if err != nil {
		return nil, err
	}
	c := call{zone: zone, form: f, record: &Exchange{}}
	if c.client, err = s.authenticate(r.Context(), zone.ID, r, f); err != nil {
		return nil, err
	}
	if f["token"] == "" {
		return nil, invalidRequest("token is required")
	}
	return serve(r.Context(), c)
}

// revocation ends the session of a refresh token or of an access token
// (RFC 7009). What is unknown or another client's is not, and the answer does
// not tell.
func (s *server) revocation(_ context.Context, c call) (any, error) {
	if t, ok := parseRefreshToken(c.form["token"]); ok {
		session, found := s.sessionOf(c, t)
		if found && session.ClientID == c.client.id() {
			return nil, s.revoke(c.zone.ID, session.ID)
		}
	}
	content, err := s.keys.verify(c.zone.ID, s.Issuers.Of(c.zone.ID), c.form["token"], s.Clock())
	if err != nil || content.ClientID != c.client.id() {
		return nil, nil //nolint:nilerr // an invalid token is as good as revoked
	}
	if content.SessionID == "" {
		return nil, refuse("unsupported_token_type", "an access token without a session is valid until it expires")
	}
	return nil, s.revoke(c.zone.ID, content.SessionID)
}

// sessionOf returns the session of a refresh token, current or rotated away.
func (s *server) sessionOf(c call, t refreshToken) (session store.Session, ok bool) {
	_ = s.Store.View(func(tx *store.Tx) error {
		session, _ = tx.Sessions.Get(c.zone.ID, t.sessionID)
		return nil
	})
	return session, session.Type == store.SessionApplication && session.RefreshFamily.Matches(t.family())
}

// introspected is the answer about a token (RFC 7662, section 2.2).
type introspected struct {
	Active bool `json:"active"`
	*claims
	TokenType string `json:"token_type,omitempty"`
}

// introspection tells a client about a token: one that was issued to it, or for
// a resource that its application provides. Any other token is inactive to it.
func (s *server) introspection(_ context.Context, c call) (any, error) {
	if c.client.public {
		return nil, errNoAuthentication
	}
	now := s.Clock()
	if t, ok := parseRefreshToken(c.form["token"]); ok {
		var session store.Session
		var err error
		_ = s.Store.View(func(tx *store.Tx) error {
			session, err = currentSession(tx, c.zone.ID, t, now)
			return nil
		})
		if err == nil && session.ClientID == c.client.id() {
			return introspected{Active: true, TokenType: "refresh_token", claims: &claims{
				ClientID: session.ClientID, SessionID: session.ID,
				Claims: jwt.Claims{Expiry: jwt.NewNumericDate(session.ExpiresAt)},
			}}, nil
		}
	}
	content, err := s.keys.verify(c.zone.ID, s.Issuers.Of(c.zone.ID), c.form["token"], now)
	if err != nil || !s.visible(c, content) {
		return introspected{}, nil //nolint:nilerr // RFC 7662, section 2.2: no reasons
	}
	return introspected{Active: true, TokenType: "Bearer", claims: &content}, nil
}

// visible tells whether the client may learn about a valid token, and whether
// the token's session goes on.
func (s *server) visible(c call, content claims) (ok bool) {
	_ = s.Store.View(func(tx *store.Tx) error {
		ok = content.ClientID == c.client.id() || slices.ContainsFunc(content.Audience, func(name string) bool {
			r, found := tx.Resources.Find(c.zone.ID, name)
			return found && r.ApplicationID != nil && *r.ApplicationID == c.client.application.ID
		})
		if content.SessionID != "" {
			_, live := tx.LiveSession(c.zone.ID, content.SessionID, s.Clock())
			ok = ok && live
		}
		return nil
	})
	return ok
}
