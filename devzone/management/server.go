// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Config is what the management API works with. Every field but Strict is
// required.
type Config struct {
	Store   *store.Store
	Issuers *issuer.Map
	Clock   func() time.Time
	Logger  *slog.Logger
	// Audit records every change, also those that are refused.
	Audit *audit.Log
	// OrganizationID is the one organization that every object belongs to.
	OrganizationID string
	// Strict refuses parameters and fields that the operation does not know, which are ignored with
	// a warning otherwise.
	Strict bool
	// TokenLifetime is how long a service account's token lives.
	TokenLifetime time.Duration
}

type server struct {
	Config
	mux *http.ServeMux
	// operations are the table of what the API takes.
	operations []operation
}

// New returns the handler of the management API, which expects to be mounted
// at the root of its listener.
func New(c Config) http.Handler { return newServer(c).mux }

func newServer(c Config) *server {
	s := &server{Config: c, mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /service-account-token", s.serviceAccountToken)
	s.mux.HandleFunc("/", s.unmatched)
	const zone = "/zones/{zone}"
	zones.serve(s, "/zones", all)
	providers.serve(s, zone+"/providers", all)
	resources.serve(s, zone+"/resources", all)
	applications.serve(s, zone+"/applications", all)
	credentials.serve(s, zone+"/application-credentials", all)
	ownedResources.serve(s, zone+"/applications/{id}/resources", list)
	ownedCredentials.serve(s, zone+"/applications/{id}/application-credentials", list)
	dependencies.serve(s, zone+"/applications/{id}/dependencies", list|get|remove)
	s.add(putDependency(zone + "/applications/{id}/dependencies/{resource}"))
	grants.serve(s, zone+"/delegated-grants", list|get|update|remove)
	users.serve(s, zone+"/users", list|get)
	userAgents.serve(s, zone+"/user-agents", list|get)
	sessions.serve(s, zone+"/sessions", list|get|update|remove)
	members.serve(s, zone+"/members", all)
	secrets.serve(s, zone+"/secrets", all)
	policies.serve(s, zone+"/policies", all)
	policyVersions.serve(s, zone+"/policies/{id}/versions", list|create|get|remove)
	policySets.serve(s, zone+"/policy-sets", all)
	policySetVersions.serve(s, zone+"/policy-sets/{id}/versions", list|create|get|remove)
	s.policySetRoutes(zone + "/policy-sets/{id}/versions/{version}")
	s.policySchemaRoutes(zone + "/policy-schemas")
	s.auditRoutes(zone + "/audit-events")
	s.catalogRoutes("/catalog" + zone)
	s.organizationRoutes()
	return s
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
