// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// maxTokenBody is the largest token request in bytes.
const maxTokenBody = 64 << 10

// tokenRequest holds the fields of both grants.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Code         string `json:"code"`
	RedirectURI  string `json:"redirect_uri"`
	RefreshToken string `json:"refresh_token"`
}

type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	ExpiresIn    int64  `json:"expires_in"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
}

// token answers POST /oauth/token, with JSON as documented and form encoding as
// OAuth servers usually take.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	req, problem := readTokenRequest(r)
	if problem != "" {
		oauthError(w, http.StatusBadRequest, "invalid_request", problem)
		return
	}
	app, known := s.app(req.ClientID)
	if matches := store.DigestOf(app.ClientSecret).Matches(req.ClientSecret); !matches || !known {
		oauthError(w, http.StatusUnauthorized, "access_denied", "Unauthorized")
		return
	}
	switch req.GrantType {
	case "authorization_code":
		tokens, ok, err := s.state.redeem(req.Code, req.ClientID, req.RedirectURI)
		s.answerTokens(w, tokens, ok, err, "Invalid authorization code")
	case "refresh_token":
		tokens, ok, err := s.state.refresh(req.RefreshToken, req.ClientID)
		s.answerTokens(w, tokens, ok, err, "Unknown or invalid refresh token.")
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type",
			"grant_type must be authorization_code or refresh_token")
	}
}

// answerTokens writes the tokens, or says why there are none.
func (s *Server) answerTokens(w http.ResponseWriter, t issued, ok bool, err error, refused string) {
	if err != nil {
		oauthError(w, http.StatusInternalServerError, "server_error", "the state could not be saved")
		return
	}
	if !ok {
		oauthError(w, http.StatusForbidden, "invalid_grant", refused)
		return
	}
	wire.JSON(w, http.StatusOK, tokenResponse{
		AccessToken:  t.access,
		RefreshToken: t.refresh,
		ExpiresIn:    int64(s.config.TokenLifetime / time.Second),
		TokenType:    "Bearer",
		Scope:        strings.Join(t.scopes, " "),
	})
}

func readTokenRequest(r *http.Request) (req tokenRequest, problem string) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxTokenBody))
	if err != nil {
		return req, "the body is too large or could not be read"
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		if err := json.Unmarshal(body, &req); err != nil {
			return req, "the body must be a JSON object of strings"
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return req, "the form is malformed"
		}
		req = tokenRequest{
			GrantType:    form.Get("grant_type"),
			ClientID:     form.Get("client_id"),
			ClientSecret: form.Get("client_secret"),
			Code:         form.Get("code"),
			RedirectURI:  form.Get("redirect_uri"),
			RefreshToken: form.Get("refresh_token"),
		}
	default:
		return req, "Content-Type must be application/json or application/x-www-form-urlencoded"
	}
	return req, ""
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	wire.JSON(w, status, map[string]string{"error": code, "error_description": description})
}
