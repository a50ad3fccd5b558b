// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// LifetimeSource is where the lifetime of a token is from.
type LifetimeSource string

// The sources.
const (
	// LifetimeFromExpiresIn is the usual one: the zone announced the lifetime as RFC 6749 section
	// 5.1 says.
	LifetimeFromExpiresIn LifetimeSource = "ExpiresIn"
	// LifetimeFromClaim is the exp claim of a token that is a JWT.
	LifetimeFromClaim LifetimeSource = "ExpClaim"
	// LifetimeCapped stands for an announced lifetime of more than 24 hours, which counts as 24
	// hours.
	LifetimeCapped LifetimeSource = "Capped"
	// LifetimeAssumed stands for no announced lifetime at all: the reader has to assume one.
	LifetimeAssumed LifetimeSource = "Assumed"
)

// Announcement is what the expires_in member of an answer was.
type Announcement string

// The announcements.
const (
	AnnouncementGiven       Announcement = "Given"
	AnnouncementMissing     Announcement = "Missing"
	AnnouncementNotPositive Announcement = "NotPositive"
	AnnouncementNotANumber  Announcement = "NotANumber"
)

// Lifetime says how the lifetime of a token is known, so that a reader can tell what is odd about
// it.
type Lifetime struct {
	Source    LifetimeSource
	Announced Announcement
	// ClockSkew is how much later than announced the exp claim is by the local clock, in whole
	// seconds; negative when it is earlier or, without an announcement, has passed. It is 0 when
	// the two agree to a minute, or one is missing.
	ClockSkew time.Duration
}

// Odd reports whether a person should know of it.
func (l Lifetime) Odd() bool {
	return l.Source != "" && l.Source != LifetimeFromExpiresIn || l.ClockSkew != 0
}

// lifetime decides how long the token lives from observedAt on: by expires_in, or else by the
// claims if the token is a JWT; the earlier of the two when they disagree. 0 means unknown.
func lifetime(expiresIn json.RawMessage, token redacted.String, observedAt time.Time) (time.Duration, Lifetime) {
	announced, how := parseExpiresIn(expiresIn)
	lives, from := announced, Lifetime{Source: LifetimeAssumed, Announced: how}
	if announced > 0 {
		from.Source = LifetimeFromExpiresIn
	}
	if c, isJWT := readClaims(token); isJWT {
		lives, from = c.reconcile(announced, from, observedAt)
	}
	if lives > maxLifetime {
		return maxLifetime, Lifetime{Source: LifetimeCapped, Announced: how}
	}
	return lives, from
}

// reconcile compares what was announced (0: nothing) with the claims.
func (c claims) reconcile(announced time.Duration, from Lifetime, observedAt time.Time) (time.Duration, Lifetime) {
	left := c.expiresAt.Sub(observedAt)
	skew := (left - announced).Truncate(time.Second)
	switch {
	case announced == 0 && left <= 0:
		from.ClockSkew = min(skew, -time.Second)
		return 0, from
	case announced == 0:
		from.Source = LifetimeFromClaim
		if life := c.life(); life > 0 && life < left { // issued in the future, by this clock
			left = life
		}
		return left, from
	case left <= 0:
		from.ClockSkew = skew
		return announced, from
	case (left - announced).Abs() <= maxDisagreement:
		return announced, from
	}
	from.ClockSkew = skew
	if skew < 0 {
		from.Source = LifetimeFromClaim
		return left, from
	}
	return announced, from
}

// parseExpiresIn reads the expires_in member, whole seconds, as a number or (against the RFC, but
// seen) a string of digits. It is 0 for anything that gives no lifetime.
func parseExpiresIn(raw json.RawMessage) (time.Duration, Announcement) {
	text := strings.TrimSpace(string(raw))
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil && quoted != "" {
		if strings.Trim(quoted, "0123456789") != "" {
			return 0, AnnouncementNotANumber
		}
		text = quoted
	}
	if text == "" || text == "null" {
		return 0, AnnouncementMissing
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !math.IsInf(seconds, 0):
		return 0, AnnouncementNotANumber
	case seconds < 1:
		return 0, AnnouncementNotPositive
	case seconds > float64(2*maxLifetime/time.Second):
		return 2 * maxLifetime, AnnouncementGiven // beyond the limit that lifetime applies
	default:
		return time.Duration(seconds) * time.Second, AnnouncementGiven
	}
}

// claims are those of a token that happens to be a JWT (RFC 7519 section 4.1). issuedAt is zero
// when there is none.
type claims struct{ expiresAt, issuedAt time.Time }

// life is how long the token lives in all; 0 when that is not known.
func (c claims) life() time.Duration {
	if c.issuedAt.IsZero() {
		return 0
	}
	return c.expiresAt.Sub(c.issuedAt)
}

// readClaims reads the claims exp and iat. Nothing is verified: the result only helps to decide
// when to ask for the next token.
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
