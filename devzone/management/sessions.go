// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// sessionView is a session of either type; what only the other type has is left
// out.
type sessionView struct {
	ID              string    `json:"id"`
	OrganizationID  string    `json:"organization_id"`
	ZoneID          string    `json:"zone_id"`
	SessionType     string    `json:"session_type"`
	Status          string    `json:"status"`
	Active          bool      `json:"active"`
	UserID          string    `json:"user_id,omitempty"`
	ApplicationID   string    `json:"application_id,omitempty"`
	Issuer          string    `json:"issuer,omitempty"`
	ProviderID      string    `json:"provider_id,omitempty"`
	Subject         string    `json:"subject,omitempty"`
	ParentID        string    `json:"parent_id,omitempty"`
	UserAgentID     string    `json:"user_agent_id,omitempty"`
	AuthenticatedAt time.Time `json:"authenticated_at"`
	ExpiresAt       time.Time `json:"expires_at"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

// sessionRoutes registers the sessions. They come to exist by signing in only,
// and the one change is revocation, which ends the sessions that belong to a
// person's session along with it.
func (s *server) sessionRoutes() {
	const path = "/zones/{zone}/sessions"
	s.inZone("GET "+path, s.sessions)
	s.inZone("GET "+path+"/{id}", s.getSession)
	s.inZone("PATCH "+path+"/{id}", s.revokeSession)
	s.inZone("DELETE "+path+"/{id}", s.deleteSession)
}

// sessionStatus is the stored status, except that time alone expires a session.
func (s *server) sessionStatus(x store.Session) string {
	if x.Status == store.SessionActive && !x.Alive(s.Clock()) {
		return store.SessionExpired
	}
	return x.Status
}

func (s *server) sessionView(x store.Session) sessionView {
	status := s.sessionStatus(x)
	v := sessionView{
		ID: x.ID, OrganizationID: s.OrganizationID, ZoneID: x.ZoneID,
		SessionType: x.Type, Status: status, Active: status == store.SessionActive,
		UserID: x.UserID, ApplicationID: x.ApplicationID, ParentID: x.ParentID, UserAgentID: x.UserAgentID,
		Issuer: x.Issuer, ProviderID: x.ProviderID, Subject: x.Subject,
		AuthenticatedAt: x.AuthenticatedAt.UTC().Truncate(time.Millisecond), ExpiresAt: x.ExpiresAt.UTC().Truncate(time.Millisecond),
		CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt,
	}
	if x.Issuer == "" {
		// The person is a user of the zone's own.
		v.Issuer, v.Subject = s.Issuers.Of(x.ZoneID), x.UserID
	}
	return v
}

func (s *server) sessions(r *http.Request) (any, error) {
	keep, err := s.filterSessions(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return listOf(s, r, false, func(tx *store.Tx) ([]item, error) {
		items := []item{}
		for _, x := range tx.Sessions.All(r.PathValue("zone"), keep) {
			items = append(items, item{seq: x.Seq, view: s.sessionView(x)})
		}
		return items, nil
	})
}

// filterSessions reads the filters of the list. Sessions that belong to another
// one are left out unless include_nested or session_type asks for them.
func (s *server) filterSessions(q url.Values) (func(store.Session) bool, error) {
	kind, status := q.Get("session_type"), q.Get("status")
	for name, accepted := range map[string][]string{
		"session_type":   {store.SessionUser, store.SessionApplication},
		"status":         {store.SessionActive, store.SessionExpired, store.SessionRevoked},
		"active":         {"true"},
		"include_nested": {"true"},
	} {
		if text := isOneOf(accepted...)(q.Get(name)); q.Has(name) && text != "" {
			return nil, badRequest("%s: %s", name, text)
		}
	}
	if q.Has("active") {
		if status != "" && status != store.SessionActive {
			return nil, badRequest("active: contradicts status")
		}
		status = store.SessionActive
	}
	nested := q.Has("include_nested") || kind == store.SessionApplication
	return func(x store.Session) bool {
		return (nested || x.ParentID == "") && equals(kind, x.Type) &&
			equals(q.Get("user_id"), x.UserID) && equals(status, s.sessionStatus(x))
	}, nil
}

func (s *server) getSession(r *http.Request) (any, error) {
	var out any
	err := s.Store.View(func(tx *store.Tx) error {
		x, err := tx.Sessions.Get(r.PathValue("zone"), r.PathValue("id"))
		out = s.sessionView(x)
		return err
	})
	return out, err
}

func (s *server) revokeSession(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var status string
	o.text("status", true, &status, isOneOf(store.SessionRevoked))
	if err := o.err(); err != nil {
		return nil, err
	}
	var out any
	err = s.Store.Do(func(tx *store.Tx) error {
		x, err := tx.RevokeSession(r.PathValue("zone"), r.PathValue("id"))
		out = s.sessionView(x)
		return err
	})
	return out, err
}

func (s *server) deleteSession(r *http.Request) (any, error) {
	return nil, s.Store.Do(func(tx *store.Tx) error {
		return tx.DeleteSession(r.PathValue("zone"), r.PathValue("id"))
	})
}
