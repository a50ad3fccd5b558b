// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/keycardai/keycard-operator/devzone/store"
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
	s.renderLogin(w, http.StatusOK, j, page{Identifier: j.LoginHint})
}

func (s *server) renderLogin(w http.ResponseWriter, status int, j journey, p page) {
	p.Title, p.Zone, p.App, p.Interaction = "Sign in", j.zone.Name, j.app.Name, j.ID
	s.render(w, status, "login", p)
}

// missing are the fields that the person left empty.
func missing(identifier, password string) []fault {
	var out []fault
	if identifier == "" {
		out = append(out, fault{"identifier", "Enter your e-mail address."})
	}
	if password == "" {
		out = append(out, fault{"password", "Enter your password."})
	}
	return out
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
	if faults := missing(identifier, password); faults != nil {
		s.renderLogin(w, http.StatusUnprocessableEntity, j, page{Identifier: identifier, Faults: faults})
		return
	}
	outcome := Outcome{Kind: "sign-in", Zone: j.zone.ID, User: clean(identifier), Application: j.app.Identifier}
	attempt, wait := s.attempts.begin(identifier, r)
	if wait > 0 {
		outcome.Refusal = "too many attempts"
		s.Observe(r.Context(), outcome)
		setRetryAfter(w, wait)
		s.renderLogin(w, http.StatusTooManyRequests, j, page{
			Identifier: identifier, Problem: "Too many attempts. Wait a minute and try again.",
		})
		return
	}
	if !passwordFits(user, known, password) {
		outcome.Refusal = "wrong identifier or password"
		s.Observe(r.Context(), outcome)
		s.renderLogin(w, http.StatusUnauthorized, j, page{
			Identifier: identifier, Faults: []fault{{"password", "The e-mail address or the password is wrong."}},
		})
		return
	}
	attempt.succeeded()
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
		if j.session.ID != "" {
			if err := signOut(tx, j.session); err != nil {
				return err
			}
		}
		if session, err = s.start(w, tx, user); err != nil {
			return err
		}
		j.session = session
		return keep(tx, j, func(i *store.Interaction) {
			i.SignedIn = true
			i.Upstream, i.IDNonce, i.IDVerifier = store.Digest{}, "", ""
		})
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
	s.render(w, http.StatusOK, "logout", p)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	err := s.Store.Do(func(tx *store.Tx) error {
		zone, err := s.zone(tx, r)
		if err != nil {
			return err
		}
		if session, _, ok := s.session(tx, r, zone.ID); ok {
			return signOut(tx, session)
		}
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.setCookie(w, sessionCookie, "", -time.Second)
	s.render(w, http.StatusOK, "logout", page{Title: "You are signed out"})
}
