// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// maxPassword is the length in bytes that bcrypt takes.
const maxPassword = 72

// nobody's hash is compared with when there is no such person, so that the time
// taken does not tell.
var nobody = func() []byte {
	hash, err := bcrypt.GenerateFromPassword([]byte(store.NewID()), bcrypt.MinCost)
	if err != nil {
		panic("hashing a short text")
	}
	return hash
}()

// showLogin answers GET /login, or hands the browser to the zone's identity
// provider.
func (s *server) showLogin(w http.ResponseWriter, r *http.Request) {
	var j journey
	err := s.Store.View(func(tx *store.Tx) (err error) {
		j, err = s.travel(tx, r, r.URL.Query().Get("i"))
		return err
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if j.zone.UserIdentityProviderID != nil {
		s.toIdentityProvider(w, r, j)
		return
	}
	s.renderLogin(w, r, http.StatusOK, j, j.LoginHint, "")
}

func (s *server) renderLogin(w http.ResponseWriter, r *http.Request, status int, j journey, identifier, problem string) {
	s.render(w, status, "login", s.formTargets(r, j), page{
		Title: "Sign in", Zone: j.zone.Name, App: j.app.Name, Interaction: j.ID, Identifier: identifier, Problem: problem,
	})
}

// login answers the form.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	identifier, password := strings.TrimSpace(form.Get("identifier")), form.Get("password")
	var j journey
	var user store.User
	var known bool
	err := s.Store.View(func(tx *store.Tx) (err error) {
		if j, err = s.travel(tx, r, form.Get("i")); err != nil {
			return err
		}
		user, known = personByName(tx, j.zone.ID, identifier)
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if j.zone.UserIdentityProviderID != nil {
		s.fail(w, http.StatusBadRequest, "This zone signs people in with an identity provider.")
		return
	}
	if identifier == "" || password == "" {
		s.renderLogin(w, r, http.StatusUnprocessableEntity, j, identifier, "Enter your e-mail address and your password.")
		return
	}
	outcome := Outcome{Kind: "sign-in", Zone: j.zone.ID, User: clean(identifier), Application: j.app.Identifier}
	if wait := s.attempts.wait(identifier, r); wait > 0 {
		outcome.Refusal = "too many attempts"
		s.Observe(r.Context(), outcome)
		setRetryAfter(w, wait)
		s.renderLogin(w, r, http.StatusTooManyRequests, j, identifier, "Too many attempts. Wait a minute and try again.")
		return
	}
	if !passwordFits(user, known, password) {
		s.attempts.failed(identifier, r)
		outcome.Refusal = "wrong identifier or password"
		s.Observe(r.Context(), outcome)
		s.renderLogin(w, r, http.StatusUnauthorized, j, identifier, "The e-mail address or the password is wrong.")
		return
	}
	session, err := s.enter(w, j, user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	outcome.User, outcome.Session = user.Identifier, session.ID
	s.Observe(r.Context(), outcome)
	s.see(w, r, continuePath, j.ID)
}

// personByName finds one of the zone's own users by identifier or e-mail.
func personByName(tx *store.Tx, zoneID, name string) (store.User, bool) {
	if u, ok := tx.Users.Find(zoneID, name); ok {
		return u, true
	}
	found := tx.Users.All(zoneID, func(u store.User) bool { return strings.EqualFold(u.Email, name) })
	if len(found) != 1 {
		return store.User{}, false
	}
	return found[0], true
}

func passwordFits(user store.User, known bool, password string) bool {
	hash := []byte(user.PasswordHash)
	usable := known && len(hash) > 0 && len(password) <= maxPassword
	if !usable {
		hash, password = nobody, "x"
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && usable
}

// enter makes the session and notes in the interaction that it is new.
func (s *server) enter(w http.ResponseWriter, j journey, user store.User) (store.Session, error) {
	var session store.Session
	err := s.Store.Do(func(tx *store.Tx) (err error) {
		if session, err = s.start(w, tx, user); err != nil {
			return err
		}
		i, err := tx.Interactions.Get(j.zone.ID, j.ID)
		if err != nil {
			return errLost
		}
		i.SessionID, i.SignedIn = session.ID, true
		i.Upstream, i.IDNonce, i.IDVerifier = store.Digest{}, "", ""
		_, err = tx.Interactions.Replace(i)
		return err
	})
	return session, err
}

// showLogout asks before it signs anybody out.
func (s *server) showLogout(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Sign out"}
	err := s.Store.View(func(tx *store.Tx) error {
		zone, err := s.zone(tx, r)
		if _, user, ok := s.session(tx, r, zone.ID); ok {
			p.User = user.Email
		}
		return err
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.render(w, http.StatusOK, "logout", nil, p)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	var zoneID string
	err := s.Store.Do(func(tx *store.Tx) error {
		zone, err := s.zone(tx, r)
		if err != nil {
			return err
		}
		zoneID = zone.ID
		session, _, ok := s.session(tx, r, zone.ID)
		if !ok {
			return nil
		}
		// What applications were given stays; only the browser forgets.
		session.Status = store.SessionExpired
		_, err = tx.Sessions.Replace(session)
		return err
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.setCookie(w, zoneID, sessionCookie, "", -1)
	s.render(w, http.StatusOK, "logout", nil, page{Title: "You are signed out"})
}
