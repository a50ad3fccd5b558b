// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// issue makes a bearer token of a service account and forgets expired ones.
func (s *server) issue(account store.ServiceAccount) (string, error) {
	token, now := store.NewSecret(), s.Clock()
	err := s.Store.Do(func(tx *store.Tx) error {
		for _, old := range tx.APITokens.All("", func(t store.APIToken) bool { return !now.Before(t.ExpiresAt) }) {
			if err := tx.APITokens.Delete("", old.ID); err != nil {
				return err
			}
		}
		_, err := tx.APITokens.Insert(store.APIToken{
			Token: store.DigestOf(token), AccountID: account.ID, ExpiresAt: now.Add(s.TokenLifetime),
		})
		return err
	})
	return token, err
}

// bearer returns the service account that a valid token was issued to.
func (s *server) bearer(token string) (account store.ServiceAccount, ok bool) {
	_ = s.Store.View(func(tx *store.Tx) error {
		found, known := tx.APITokens.Find("", store.DigestKey(store.DigestOf(token)))
		if !known || !s.Clock().Before(found.ExpiresAt) {
			return nil
		}
		var err error
		account, err = tx.ServiceAccounts.Get("", found.AccountID)
		ok = err == nil
		return nil
	})
	return account, ok
}

// oauthError is the error body of /service-account-token, in the form of
// RFC 6749, section 5.2.
type oauthError struct {
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// Error returns code and description.
func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
}

func (s *server) serviceAccountToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	account, err := s.authenticate(r)
	var token string
	if err == nil {
		token, err = s.issue(account)
	}
	if refusal, ok := errors.AsType[*oauthError](err); ok {
		if refusal.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="service-account-token"`)
		}
		wire.JSON(w, refusal.Status, refusal)
		return
	}
	if err != nil {
		writeError(w, asAPIError(err))
		return
	}
	wire.JSON(w, http.StatusOK, tokenResponse{
		AccessToken: token,
		TokenType:   "Bearer",
		ExpiresIn:   int64(s.TokenLifetime / time.Second),
	})
}

// authenticate reads a client_credentials request with the credentials in the
// Authorization header or in the form.
func (s *server) authenticate(r *http.Request) (store.ServiceAccount, error) {
	form, err := readTokenForm(r)
	if err != nil {
		return store.ServiceAccount{}, err
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		return s.checkSecret(form.Get("client_id"), form.Get("client_secret"))
	}
	if form.Has("client_secret") {
		return store.ServiceAccount{}, invalidForm("the client must authenticate in one way only")
	}
	account, err := s.checkSecret(id, secret)
	if err == nil {
		return account, nil
	}
	// The SDKs send both parts as they are, RFC 6749, section 2.3.1, wants them
	// form-urlencoded: either will do.
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	if err1 != nil || err2 != nil {
		return account, err
	}
	return s.checkSecret(id, secret)
}

func readTokenForm(r *http.Request) (url.Values, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, invalidForm("Content-Type must be application/x-www-form-urlencoded")
	}
	data, err := readBody(r)
	if err != nil {
		return nil, invalidForm(err.Error())
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, invalidForm("the form is malformed")
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, invalidForm("a parameter must be given once")
		}
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return form, nil
	case "":
		return nil, invalidForm("grant_type is required")
	}
	return nil, &oauthError{
		Status: http.StatusBadRequest, Code: "unsupported_grant_type",
		Description: "grant_type must be client_credentials",
	}
}

func invalidForm(text string) error {
	return &oauthError{Status: http.StatusBadRequest, Code: "invalid_request", Description: text}
}

func (s *server) checkSecret(id, secret string) (store.ServiceAccount, error) {
	var account store.ServiceAccount
	var known bool
	err := s.Store.View(func(tx *store.Tx) error {
		account, known = tx.ServiceAccounts.Find("", id)
		return nil
	})
	if err != nil {
		return account, err
	}
	if !known {
		return s.checkCredential(id, secret)
	}
	// The comparison runs for unknown clients too, so that the time taken does
	// not tell them apart.
	if matches := account.ClientSecret.Matches(secret); !known || !matches {
		return account, &oauthError{
			Status: http.StatusUnauthorized, Code: "invalid_client",
			Description: "unknown client or wrong secret",
		}
	}
	return account, nil
}
