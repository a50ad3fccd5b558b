// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
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
	// LifetimeKnown tells whether ExpiresIn means anything.
	LifetimeKnown bool
	// LifetimeNote says what was odd about the lifetime, in words that do not vary from token to token;
	// "" when nothing was.
	LifetimeNote string
	// ObservedAt is when the token was asked for: a little before it was issued, so that
	// ObservedAt+ExpiresIn is never later than the real expiry.
	ObservedAt time.Time
}

// ExpiresAt returns when the token stops working, and false when that is not known.
func (t Token) ExpiresAt() (time.Time, bool) {
	return t.ObservedAt.Add(t.ExpiresIn), t.LifetimeKnown
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
	t.ExpiresIn, t.LifetimeNote = lifetime(wire.ExpiresIn, t.AccessToken, observedAt)
	t.LifetimeKnown = t.ExpiresIn > 0
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

// ClockNote begins each LifetimeNote that is about clocks which disagree.
const ClockNote = "the clocks disagree: "

// lifetime decides how long the token lives from observedAt on: by expires_in, or else by the claims if the token is a
// JWT; the earlier of the two when they disagree. 0 means unknown.
func lifetime(expiresIn json.RawMessage, token redacted.String, observedAt time.Time) (time.Duration, string) {
	announced, note := parseExpiresIn(expiresIn)
	if c, isJWT := readClaims(token); isJWT {
		announced, note = c.reconcile(announced, note, observedAt)
	}
	if announced > maxLifetime {
		announced = maxLifetime
		note = "the announced lifetime is over 24 hours; took it as 24 hours"
	}
	return announced, note
}

// reconcile compares what was announced (0: nothing) with the claims.
func (c claims) reconcile(announced time.Duration, note string, observedAt time.Time) (time.Duration, string) {
	left := c.expiresAt.Sub(observedAt)
	apart := (left - announced).Abs() > maxDisagreement
	switch {
	case announced == 0 && left <= 0:
		return 0, note + "; the token's exp claim has passed, by this clock"
	case announced == 0:
		if life := c.life(); life > 0 && life < left { // issued in the future, by this clock
			left = life
		}
		return left, note + "; used the token's exp claim"
	case left <= 0:
		return announced, ClockNote + "the token's exp claim has passed, by this clock; used expires_in"
	case apart && left < announced:
		return left, ClockNote + "the token's exp claim is earlier than expires_in; used the claim"
	case apart:
		return announced, ClockNote + "the token's exp claim is later than expires_in; used expires_in"
	}
	return announced, note
}

// parseExpiresIn reads the expires_in member, whole seconds, as a number or (against the RFC, but seen)
// a string of digits. 0 with a note is for anything that gives no lifetime.
func parseExpiresIn(raw json.RawMessage) (time.Duration, string) {
	text := strings.TrimSpace(string(raw))
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil && quoted != "" {
		if strings.Trim(quoted, "0123456789") != "" {
			return 0, "expires_in is not a number"
		}
		text = quoted
	}
	if text == "" || text == "null" {
		return 0, "expires_in is missing"
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !math.IsInf(seconds, 0):
		return 0, "expires_in is not a number"
	case seconds < 1:
		return 0, "expires_in is not positive"
	case seconds > float64(2*maxLifetime/time.Second):
		return 2 * maxLifetime, "" // beyond the limit that lifetime applies
	default:
		return time.Duration(seconds) * time.Second, ""
	}
}

// claims are those of a token that happens to be a JWT (RFC 7519 section 4.1). issuedAt is zero when there is none.
type claims struct{ expiresAt, issuedAt time.Time }

// life is how long the token lives in all; 0 when that is not known.
func (c claims) life() time.Duration {
	if c.issuedAt.IsZero() {
		return 0
	}
	return c.expiresAt.Sub(c.issuedAt)
}

// readClaims reads the claims exp and iat. Nothing is verified: the result only helps to decide when to ask for the next
// token.
func readClaims(token redacted.String) (claims, bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}, false
	}
	var wire struct {
		Exp float64 `json:"exp"`
		Iat any     `json:"iat"`
	}
	if json.Unmarshal(payload, &wire) != nil || !isTime(wire.Exp) {
		return claims{}, false
	}
	c := claims{expiresAt: time.Unix(int64(wire.Exp), 0)}
	if iat, ok := wire.Iat.(float64); ok && isTime(iat) {
		c.issuedAt = time.Unix(int64(iat), 0)
	}
	return c, true
}

// isTime admits seconds since 1970 that make sense.
func isTime(seconds float64) bool { return seconds > 0 && seconds <= float64(1<<40) }
