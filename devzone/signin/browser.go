// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Cookies of a browser: one that it has been given to be known by, and one for
// the session of the person.
const (
	browserCookie = "devzone_browser"
	sessionCookie = "devzone_session"
)

const (
	interactionLifetime = 10 * time.Minute
	sessionLifetime     = 8 * time.Hour
	codeLifetime        = time.Minute
)

// cookieName adds the prefix that keeps other hosts of the domain from setting
// the cookie, where the zone is reached by https.
func (s *server) cookieName(name string) string {
	if s.secure() {
		return "__Host-" + name
	}
	return name
}

func (s *server) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure would lose the cookie where the zone speaks plain http
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode,
	})
}

// browser returns the digest of the browser's cookie and gives it one if it has
// none.
func (s *server) browser(w http.ResponseWriter, r *http.Request) store.Digest {
	if c, err := r.Cookie(s.cookieName(browserCookie)); err == nil && len(c.Value) >= 26 {
		return store.DigestOf(c.Value)
	}
	secret := store.NewSecret()
	s.setCookie(w, browserCookie, secret, 30*24*time.Hour)
	return store.DigestOf(secret)
}

// session returns the live session of the browser, if any, with its person.
func (s *server) session(tx *store.Tx, r *http.Request, zoneID string) (store.Session, store.User, bool) {
	c, err := r.Cookie(s.cookieName(sessionCookie))
	if err != nil {
		return store.Session{}, store.User{}, false
	}
	found, ok := tx.Sessions.Find(zoneID, store.DigestKey(store.DigestOf(c.Value)))
	if !ok || !found.Alive(s.Clock()) {
		return store.Session{}, store.User{}, false
	}
	user, err := tx.Users.Get(zoneID, found.UserID)
	return found, user, err == nil
}

// start signs a person in: it makes the session that the cookie stands for.
func (s *server) start(w http.ResponseWriter, tx *store.Tx, user store.User) (store.Session, error) {
	secret, now := store.NewSecret(), s.Clock().UTC()
	session, err := tx.Sessions.Insert(store.Session{
		Meta: store.Meta{ZoneID: user.ZoneID}, Type: store.SessionUser, UserID: user.ID,
		ProviderID: user.ProviderID, Issuer: user.Issuer, Subject: user.Subject,
		Status: store.SessionActive, AuthenticatedAt: now, ExpiresAt: now.Add(sessionLifetime),
		Cookie: store.DigestOf(secret),
	})
	if err == nil {
		s.setCookie(w, sessionCookie, secret, sessionLifetime)
	}
	return session, err
}

// interaction returns the interaction with the id if it belongs to the browser
// and has time left.
func (s *server) interaction(tx *store.Tx, r *http.Request, zoneID, id string) (store.Interaction, bool) {
	i, err := tx.Interactions.Get(zoneID, id)
	c, errCookie := r.Cookie(s.cookieName(browserCookie))
	if err != nil || errCookie != nil || !i.Browser.Matches(c.Value) || !s.Clock().Before(i.ExpiresAt) {
		return store.Interaction{}, false
	}
	return i, true
}
