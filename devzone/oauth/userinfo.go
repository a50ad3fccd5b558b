// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// userinfo tells about the person whose access token it gets (OpenID Connect
// Core 1.0, section 5.3). The token needs the scope openid.
func (s *server) userinfo(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	zone, err := s.zoneOf(r)
	if err != nil {
		writeRefusal(w, asRefusal(err))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		writeRefusal(w, &refusal{Status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "userinfo accepts GET and POST only"})
		return
	}
	user, failure := s.personOf(zone, r)
	if failure != nil {
		challenge := "Bearer"
		if failure.Code != "" {
			// RFC 6750, section 3: without a token there is no error to tell.
			challenge += ` error="` + failure.Code + `", error_description="` + failure.Description + `"`
		} else {
			failure.Code, failure.Description = "invalid_token", "a bearer token in the Authorization header is required"
		}
		w.Header().Set("WWW-Authenticate", challenge)
		writeRefusal(w, failure)
		return
	}
	wire.JSON(w, http.StatusOK, map[string]any{"sub": user.Identifier, "email": user.Email, "email_verified": !user.EmailUnverified})
}

// personOf returns the person that the bearer token is about. A refusal without
// a code says that there is no token.
func (s *server) personOf(zone store.Zone, r *http.Request) (user store.User, failure *refusal) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return user, &refusal{Status: http.StatusUnauthorized}
	}
	invalid := func(description string) *refusal {
		return &refusal{Status: http.StatusUnauthorized, Code: "invalid_token", Description: description}
	}
	content, err := s.keys.verify(zone.ID, s.Issuers.Of(zone.ID), token, s.Clock())
	switch {
	case err != nil:
		return user, invalid("the token is not a valid access token of this zone")
	case content.SubProfile != profileUser || content.SessionID == "":
		return user, invalid("the token is of no session of a person")
	case !slices.Contains(strings.Fields(content.Scope), scopeOpenID):
		return user, &refusal{Status: http.StatusForbidden, Code: "insufficient_scope", Description: "the token lacks the scope openid"}
	}
	known := false
	_ = s.Store.View(func(tx *store.Tx) error {
		if _, live := tx.LiveSession(zone.ID, content.SessionID, s.Clock()); live {
			user, known = tx.Users.Find(zone.ID, content.Subject)
		}
		return nil
	})
	if !known {
		return user, invalid("the token's session was revoked or has expired")
	}
	return user, nil
}
