// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Paths of the pages below the issuer.
const (
	loginPath    = "/login"
	consentPath  = "/login/consent"
	continuePath = "/login/continue"
	logoutPath   = "/logout"
	stylePath    = "/login/style.css"
)

// maxForm is the largest form in bytes.
const maxForm = 16 << 10

// Outcome of what a person did, for the log.
type Outcome struct {
	// Kind is "sign-in", "consent" or "connection".
	Kind string
	Zone string
	// User and Application are identifiers; User is what was typed when nobody
	// signed in.
	User, Application string
	// Resource is the identifier of the resource that was connected.
	Resource string
	Scopes   []string
	Session  string
	// Refusal says why it came to nothing; empty when it did not.
	Refusal string
}

// Config is what the pages work with. Every field but Observe is required.
type Config struct {
	Store   *store.Store
	Issuers *issuer.Map
	Broker  *broker.Broker
	Clock   func() time.Time
	Logger  *slog.Logger
	// Client makes the zone's own requests to an identity provider.
	Client *http.Client
	// Locate tells where a browser finds a URL of a provider; see broker.Locate.
	Locate func(url string) string
	// Observe is told of every sign-in, consent and connection, granted or not.
	Observe func(ctx context.Context, o Outcome)
}

type server struct {
	Config
	attempts  attempts
	providers identityProviders
}

// New returns the handler of every zone's pages. It serves Paths.
func New(c Config) http.Handler {
	if c.Observe == nil {
		c.Observe = func(context.Context, Outcome) {}
	}
	s := &server{Config: c, attempts: newAttempts(c.Clock)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+issuer.AuthorizePath, s.authorize)
	mux.HandleFunc("POST "+issuer.AuthorizePath, s.authorize)
	mux.HandleFunc("GET "+issuer.RedirectPath, s.callback)
	mux.HandleFunc("GET "+continuePath, s.proceed)
	mux.HandleFunc("GET "+loginPath, s.showLogin)
	mux.HandleFunc("POST "+loginPath, s.login)
	mux.HandleFunc("GET "+consentPath, s.showConsent)
	mux.HandleFunc("POST "+consentPath, s.consent)
	mux.HandleFunc("GET "+logoutPath, s.showLogout)
	mux.HandleFunc("POST "+logoutPath, s.logout)
	mux.HandleFunc("GET "+stylePath, style)
	guard := http.NewCrossOriginProtection()
	// An application may send its authorize request as a form (OpenID Connect
	// Core 1.0, section 3.1.2.1); it changes nothing by itself.
	guard.AddInsecureBypassPattern("POST " + issuer.AuthorizePath)
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, http.StatusForbidden, "This form was sent from another site. Start again from the application.")
	}))
	return s.hardened(guard.Handler(mux))
}

// hardened sets the headers that every answer has, redirects and errors
// included. A page may load the zone's style and nothing else, and its form may
// be sent to the zone only; see leave.
func (s *server) hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if s.secure() {
			// A day: a name such as localhost is used for other things as well.
			h.Set("Strict-Transport-Security", "max-age=86400")
		}
		next.ServeHTTP(w, r)
	})
}

// Paths are those that New's handler serves.
func Paths() []string {
	return []string{issuer.AuthorizePath, issuer.RedirectPath, loginPath, loginPath + "/", logoutPath}
}

// zone returns the zone that the request's Host names.
func (s *server) zone(tx *store.Tx, r *http.Request) (store.Zone, error) {
	return tx.Zones.Get("", s.Issuers.Zone(r.Host, func(id string) bool {
		_, err := tx.Zones.Get("", id)
		return err == nil
	}))
}

// secure tells whether the zones are reached by https, which they all are or none.
func (s *server) secure() bool {
	return strings.HasPrefix(s.Issuers.Of(s.Issuers.DefaultZone()), "https://")
}
