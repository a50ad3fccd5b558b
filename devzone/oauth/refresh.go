// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// refreshLifetime is how long a refresh token lives unused.
const refreshLifetime = 30 * 24 * time.Hour

// familyLength is the length of the part of a refresh token's secret that stays
// the same when the token is rotated.
const familyLength = 26

// newRefreshToken makes the next refresh token of a session: the session's id, a
// dot, and a secret. The first part of the secret stays, so that a token that
// was rotated away can be told from a guess, which must not end a session.
func newRefreshToken(session store.Session) (string, store.Session) {
	return nextRefreshToken(session, rand.Text())
}

func nextRefreshToken(session store.Session, family string) (string, store.Session) {
	secret := family + store.NewSecret()
	session.Refresh = store.DigestOf(secret)
	session.RefreshFamily = store.DigestOf(family)
	return session.ID + "." + secret, session
}

// refreshToken is a parsed refresh token.
type refreshToken struct {
	sessionID, secret string
}

func parseRefreshToken(text string) (refreshToken, bool) {
	id, secret, ok := strings.Cut(text, ".")
	return refreshToken{sessionID: id, secret: secret}, ok && id != "" && len(secret) > familyLength
}

func (t refreshToken) family() string { return t.secret[:familyLength] }

// refresh serves the refresh token grant (RFC 6749, section 6). Every use gives
// a new refresh token, and a second use of one ends the session.
func (s *server) refresh(ctx context.Context, c call) (*tokenResponse, error) {
	token, session, user, err := s.findRefreshToken(c)
	if err != nil {
		return nil, err
	}
	if err := narrower(c.scopes, session.Scopes); err != nil {
		return nil, err
	}
	if len(c.scopes) == 0 {
		c.scopes = session.Scopes
	}
	out, err := s.issueInSession(ctx, c, session, user, "")
	if err != nil {
		return nil, err
	}
	out.RefreshToken, err = s.rotate(c.zone.ID, token)
	return out, err
}

var (
	errRefreshUnknown = invalidGrant("refresh_token is unknown, has expired or was revoked")
	errRefreshReused  = invalidGrant("refresh_token was used before: its session is revoked")
)

// findRefreshToken returns the session of the request's refresh token.
func (s *server) findRefreshToken(c call) (token refreshToken, session store.Session, user store.User, err error) {
	text := c.form["refresh_token"]
	if text == "" {
		return token, session, user, invalidRequest("refresh_token is required")
	}
	token, ok := parseRefreshToken(text)
	if !ok {
		return token, session, user, errRefreshUnknown
	}
	err = s.Store.View(func(tx *store.Tx) error {
		if session, err = currentSession(tx, c.zone.ID, token, s.Clock()); err != nil {
			return err
		}
		if session.ClientID != c.client.id() {
			return invalidGrant("refresh_token was issued to another client")
		}
		user, err = tx.Users.Get(c.zone.ID, session.UserID)
		return err
	})
	return token, session, user, s.endReused(c.zone.ID, token, err)
}

// currentSession returns the live session whose refresh token this is.
func currentSession(tx *store.Tx, zoneID string, t refreshToken, now time.Time) (store.Session, error) {
	session, live := tx.LiveSession(zoneID, t.sessionID, now)
	switch {
	case session.Type != store.SessionApplication || !session.RefreshFamily.Matches(t.family()):
		return session, errRefreshUnknown
	case !session.Refresh.Matches(t.secret):
		return session, errRefreshReused
	case !live:
		return session, errRefreshUnknown
	}
	return session, nil
}

// rotate makes the session's next refresh token, unless the token was used by
// somebody else meanwhile.
func (s *server) rotate(zoneID string, used refreshToken) (next string, err error) {
	now := s.Clock().UTC()
	err = s.Store.Do(func(tx *store.Tx) error {
		session, err := currentSession(tx, zoneID, used, now)
		if err != nil {
			return err
		}
		next, session = nextRefreshToken(session, used.family())
		session.ExpiresAt = now.Add(refreshLifetime)
		_, err = tx.Sessions.Replace(session)
		return err
	})
	return next, s.endReused(zoneID, used, err)
}

// endReused revokes the session when the error says that its refresh token was
// used before (RFC 9700, section 4.14.2).
func (s *server) endReused(zoneID string, t refreshToken, err error) error {
	if !errors.Is(err, errRefreshReused) {
		return err
	}
	if failed := s.revoke(zoneID, t.sessionID); failed != nil {
		return failed
	}
	return err
}

// revoke ends a session and those that belong to it; one that is gone has ended.
func (s *server) revoke(zoneID, sessionID string) error {
	return s.Store.Do(func(tx *store.Tx) error {
		_, err := tx.RevokeSession(zoneID, sessionID)
		if _, gone := errors.AsType[*store.NotFoundError](err); gone {
			return nil
		}
		return err
	})
}

// narrower refuses scopes that the person did not agree to.
func narrower(requested, agreed []string) error {
	for _, scope := range requested {
		if !slices.Contains(agreed, scope) {
			return refuse("invalid_scope", "scope %s was not granted: a refresh may ask for less, not for more", printable(scope))
		}
	}
	return nil
}
