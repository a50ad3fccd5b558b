// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// sessionView is a session of either type; what only the other type has is left
// out.
type sessionView struct {
	base
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
}

// sessions come to exist by signing in only, and the one change is revocation, which ends the
// sessions that belong to a person's session along with it. Those are listed only when
// include_nested or session_type asks for them.
var sessions = kind[store.Session]{
	table: func(tx *store.Tx) *store.Table[store.Session] { return tx.Sessions },
	view:  func(c *call, x store.Session) any { return c.sessionView(x) },
	within: func(c *call) (func(store.Session) bool, error) {
		all := c.r.PathValue("id") != "" || c.params.has("include_nested") || c.params.one("session_type") == store.SessionApplication
		return func(x store.Session) bool { return all || x.ParentID == "" }, nil
	},
	filters: filters[store.Session]{
		"user_id":        is(func(x store.Session) string { return x.UserID }),
		"session_type":   is(func(x store.Session) string { return x.Type }, store.SessionUser, store.SessionApplication),
		"include_nested": must(func(store.Session) bool { return true }),
		"status": func(c *call, values []string) (func(store.Session) bool, string) {
			return is(c.sessionStatus, store.SessionActive, store.SessionExpired, store.SessionRevoked)(c, values)
		},
		"active": func(c *call, values []string) (func(store.Session) bool, string) {
			return must(func(x store.Session) bool { return c.sessionStatus(x) == store.SessionActive })(c, values)
		},
	},
	fields: func(_ *call, x *store.Session, _ bool) fields { return revocation(&x.Status) },
	adjust: func(c *call, x *store.Session) error {
		_, err := c.tx.RevokeSession(x.ZoneID, x.ID)
		return err
	},
	remove: func(c *call, x store.Session) error { return c.tx.DeleteSession(x.ZoneID, x.ID) },
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
		base:        s.unnamed(x.Meta),
		SessionType: x.Type, Status: status, Active: status == store.SessionActive,
		UserID: x.UserID, ApplicationID: x.ApplicationID, ParentID: x.ParentID, UserAgentID: x.UserAgentID,
		Issuer: x.Issuer, ProviderID: x.ProviderID, Subject: x.Subject,
		AuthenticatedAt: x.AuthenticatedAt.UTC().Truncate(time.Millisecond), ExpiresAt: x.ExpiresAt.UTC().Truncate(time.Millisecond),
	}
	if x.Issuer == "" {
		// The person is a user of the zone's own.
		v.Issuer, v.Subject = s.Issuers.Of(x.ZoneID), x.UserID
	}
	return v
}
