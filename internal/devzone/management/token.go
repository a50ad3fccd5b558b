// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// sessions remembers which bearer tokens are valid.
type sessions struct {
	clock    func() time.Time
	lifetime time.Duration

	mu     sync.Mutex
	tokens map[store.Digest]session
}

type session struct {
	account store.ServiceAccount
	expires time.Time
}

func newSessions(clock func() time.Time, lifetime time.Duration) *sessions {
	return &sessions{clock: clock, lifetime: lifetime, tokens: map[store.Digest]session{}}
}

func (s *sessions) issue(account store.ServiceAccount) string {
	token, now := store.NewSecret(), s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest, old := range s.tokens {
		if !now.Before(old.expires) {
			delete(s.tokens, digest)
		}
	}
	s.tokens[store.DigestOf(token)] = session{account: account, expires: now.Add(s.lifetime)}
	return token
}

func (s *sessions) find(token string) (store.ServiceAccount, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.tokens[store.DigestOf(token)]
	return found.account, ok && s.clock().Before(found.expires)
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
	if refusal, ok := errors.AsType[*oauthError](err); ok {
		if refusal.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="service-account-token"`)
		}
		writeJSON(w, refusal.Status, refusal)
		return
	}
	if err != nil {
		writeError(w, asAPIError(err))
		return
	}
	writeJSON(w, http.StatusOK, tokenResponse{
		AccessToken: s.sessions.issue(account),
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
	err := s.Store.Do(func(tx *store.Tx) error {
		account, known = tx.ServiceAccounts.Find("", id)
		return nil
	})
	if err != nil {
		return account, err
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
