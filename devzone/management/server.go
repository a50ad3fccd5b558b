// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Config is what the management API works with. Every field is required.
type Config struct {
	Store   *store.Store
	Issuers *issuer.Map
	Clock   func() time.Time
	Logger  *slog.Logger
	// Audit records every change, also those that are refused.
	Audit *audit.Log
	// OrganizationID is the one organization that every object belongs to.
	OrganizationID string
	// TokenLifetime is how long a service account's token lives.
	TokenLifetime time.Duration
}

type server struct {
	Config
	mux *http.ServeMux
}

// endpoint answers a request with a body for a 200, or nil for a 204.
type endpoint func(r *http.Request) (any, error)

// New returns the handler of the management API, which expects to be mounted
// at the root of its listener.
func New(c Config) http.Handler {
	s := &server{Config: c, mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /service-account-token", s.serviceAccountToken)
	s.mux.HandleFunc("/", s.unmatched)
	s.zoneRoutes()
	s.providerRoutes()
	s.resourceRoutes()
	s.applicationRoutes()
	s.credentialRoutes()
	s.dependencyRoutes()
	s.grantRoutes()
	s.userRoutes()
	s.userAgentRoutes()
	s.sessionRoutes()
	s.policyRoutes()
	s.policySetRoutes()
	s.policySchemaRoutes()
	s.inZone("GET /zones/{zone}/audit-events", s.auditEvents)
	s.memberRoutes()
	s.secretRoutes()
	s.catalogRoutes()
	s.organizationRoutes()
	s.serviceAccountRoutes()
	return s.mux
}

// handle registers an endpoint behind the bearer token check.
func (s *server) handle(pattern string, e endpoint) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		account, err := s.authorize(r)
		if err != nil {
			writeError(w, asAPIError(err))
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, account))
		out, err := e(r)
		if recorded := s.record(r, pattern, out, err); recorded != nil {
			err = recorded
		}
		if err != nil {
			answer := asAPIError(err)
			if answer.Status == http.StatusInternalServerError {
				s.Logger.ErrorContext(r.Context(), "management request", "pattern", pattern, "error", err)
			}
			writeError(w, answer)
			return
		}
		s.write(w, out)
	})
}

func (s *server) write(w http.ResponseWriter, out any) {
	switch out.(type) {
	case nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case installed:
		w.WriteHeader(http.StatusCreated)
		return
	}
	if t, ok := out.(tagged); ok {
		w.Header().Set("ETag", t.tag())
	}
	writeJSON(w, http.StatusOK, out)
}

// tagged is an answer with an entity tag (RFC 9110, section 8.8.3).
type tagged interface{ tag() string }

// callerKey is the key of the service account in a request's context.
type callerKey struct{}

// caller is the service account that made the request.
func caller(r *http.Request) store.ServiceAccount {
	account, _ := r.Context().Value(callerKey{}).(store.ServiceAccount)
	return account
}

// inZone registers an endpoint for an existing zone.
func (s *server) inZone(pattern string, e endpoint) {
	s.handle(pattern, func(r *http.Request) (any, error) {
		err := s.Store.View(func(tx *store.Tx) error {
			_, err := tx.Zones.Get("", r.PathValue("zone"))
			return err
		})
		if err != nil {
			return nil, err
		}
		return e(r)
	})
}

// authorize checks the bearer token and, for changes, the role behind it.
func (s *server) authorize(r *http.Request) (store.ServiceAccount, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return store.ServiceAccount{}, failure(http.StatusUnauthorized, "unauthorized",
			"a bearer token from POST /service-account-token is required")
	}
	account, ok := s.bearer(token)
	if !ok {
		return account, failure(http.StatusUnauthorized, "unauthorized", "the bearer token is unknown or has expired")
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if account.Role == store.RoleViewer && !read {
		return account, forbidden("the service account's role %s does not permit changes", store.RoleViewer)
	}
	return account, nil
}

// unmatched answers what no pattern matches: 405 where the path exists with
// another method, 404 elsewhere.
func (s *server) unmatched(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		writeError(w, notFound("no such path"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeError(w, failure(http.StatusMethodNotAllowed, "method_not_allowed",
		"the path accepts %s", strings.Join(allowed, ", ")))
}
