// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const (
	maxAccessToken = 64 << 10
	maxLifetime    = 24 * time.Hour

	// A token's exp claim and expires_in may differ by this much before the earlier one is believed.
	maxDisagreement = time.Minute
)

// Token is a successful answer of a token endpoint (RFC 6749 section 5.1, RFC 8693 section 2.2.1).
type Token struct {
	// AccessToken is 1 to 65536 visible ASCII characters without spaces, fit for an HTTP header.
	AccessToken redacted.String
	// RefreshToken is there if the zone issued one; it replaces the one it was asked with.
	RefreshToken redacted.String
	// TokenType is always "Bearer".
	TokenType string
	// Scopes are the granted scopes, or the requested ones when the answer names none.
	Scopes []string
	// IssuedTokenType is the RFC 8693 token type identifier, "" when the answer has none.
	IssuedTokenType string
	// ExpiresIn is the remaining life at ObservedAt, more than 0 and at most 24 h; 0 when it is not known.
	ExpiresIn time.Duration
	// Lifetime says where ExpiresIn is from.
	Lifetime Lifetime
	// ObservedAt is when the token was asked for: a little before it was issued, so that
	// ObservedAt+ExpiresIn is never later than the real expiry.
	ObservedAt time.Time
}

// errNoToken is for answers that are not a token response at all.
var errNoToken = errors.New("the answer has no access_token")

// parseToken validates the body of a token response. The error is errNoToken, a JSON error, or a
// description wrapped around ErrTokenUnusable.
func parseToken(body []byte, requestedScopes []string, observedAt time.Time) (Token, error) {
	var wire struct {
		AccessToken     redacted.String `json:"access_token"`
		RefreshToken    redacted.String `json:"refresh_token"`
		TokenType       string          `json:"token_type"`
		IssuedTokenType string          `json:"issued_token_type"`
		Scope           string          `json:"scope"`
		ExpiresIn       json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return Token{}, err
	}
	if wire.AccessToken.IsZero() {
		return Token{}, errNoToken
	}
	t := Token{
		AccessToken:     wire.AccessToken,
		RefreshToken:    wire.RefreshToken,
		TokenType:       "Bearer",
		Scopes:          parseScopes(wire.Scope),
		IssuedTokenType: cleanCode(wire.IssuedTokenType, nil),
		ObservedAt:      observedAt,
	}
	if len(t.Scopes) == 0 {
		t.Scopes = append([]string(nil), requestedScopes...)
	}
	if wire.TokenType != "" && !strings.EqualFold(wire.TokenType, "Bearer") {
		return Token{}, unusable("the zone issued a token that is not of type Bearer")
	}
	if err := checkHeaderSafe(t.AccessToken); err != nil {
		return Token{}, err
	}
	t.ExpiresIn, t.Lifetime = lifetime(wire.ExpiresIn, t.AccessToken, observedAt)
	return t, nil
}

type unusable string

func (u unusable) Error() string { return string(u) }

// Is makes errors.Is find ErrTokenUnusable.
func (u unusable) Is(target error) bool { return target == ErrTokenUnusable }

// checkHeaderSafe refuses a token that would break out of, or be mangled in, an Authorization header
// (RFC 6750 section 2.1) or a line-based credential file.
func checkHeaderSafe(token redacted.String) error {
	raw := token.Reveal()
	if len(raw) > maxAccessToken {
		return unusable("the zone issued a token that is longer than 64 KiB")
	}
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] > '~' {
			return unusable("the zone issued a token with characters that an HTTP header cannot carry")
		}
	}
	return nil
}

// parseScopes splits a scope parameter (RFC 6749 section 3.3) and drops what is not a scope.
func parseScopes(scope string) []string {
	var scopes []string
	for s := range strings.FieldsSeq(scope) {
		if isScope(s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// isScope checks the characters of one scope: visible ASCII without quote and backslash.
func isScope(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != ""
}
