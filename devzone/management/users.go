// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type userView struct {
	base
	Identifier      string     `json:"identifier"`
	Email           string     `json:"email"`
	EmailVerified   bool       `json:"email_verified"`
	Issuer          string     `json:"issuer"`
	ProviderID      string     `json:"provider_id,omitempty"`
	Subject         string     `json:"subject"`
	AuthenticatedAt *time.Time `json:"authenticated_at,omitempty"`

	// What expand[] asks for. Nobody has roles here.
	SessionCount    *int   `json:"session_count,omitempty"`
	GrantCount      *int   `json:"grant_count,omitempty"`
	RoleAssignments *[]any `json:"role_assignments,omitempty"`
}

var userExpands = []string{"session_count", "grant_count", "role-assignments"}

func userEmail(u store.User) string      { return u.Email }
func userIdentifier(u store.User) string { return u.Identifier }

// users are read only.
var users = kind[store.User]{
	table: func(tx *store.Tx) *store.Table[store.User] { return tx.Users },
	view:  func(c *call, u store.User) any { return c.userView(u) },
	filters: filters[store.User]{
		"filter[id]":         among(func(u store.User) string { return u.ID }),
		"filter[email]":      among(userEmail),
		"filter[identifier]": among(userIdentifier),
		"query[email]":       contains(userEmail),
		"query[identifier]":  contains(userIdentifier),
		"query[subject]":     contains(subjectOf),
		"query[]":            contains(userEmail, userIdentifier, subjectOf),
	},
	expands: userExpands,
	shown:   []string{"expand[]"},
	orders: func(c *call) map[string]func(a, b store.User) int {
		return map[string]func(a, b store.User) int{
			"email":            by(userEmail),
			"authenticated_at": func(a, b store.User) int { return c.signIns()[a.ID].Compare(c.signIns()[b.ID]) },
		}
	},
}

func (c *call) userView(u store.User) userView {
	v := userView{
		base:          c.unnamed(u.Meta),
		Identifier:    u.Identifier,
		Email:         u.Email,
		EmailVerified: !u.EmailUnverified,
		Issuer:        cmp.Or(u.Issuer, c.Issuers.Of(u.ZoneID)),
		ProviderID:    u.ProviderID,
		Subject:       subjectOf(u),
	}
	if at, ok := c.signIns()[u.ID]; ok {
		v.AuthenticatedAt = &at
	}
	for _, e := range c.params["expand[]"] {
		switch e {
		case "session_count":
			n := len(c.tx.Sessions.All(u.ZoneID, func(x store.Session) bool { return x.UserID == u.ID }))
			v.SessionCount = &n
		case "grant_count":
			n := len(c.tx.Grants.All(u.ZoneID, func(g store.Grant) bool { return g.UserID == u.ID }))
			v.GrantCount = &n
		case "role-assignments":
			v.RoleAssignments = &[]any{}
		}
	}
	return v
}

// subjectOf is what the issuer of the person calls them.
func subjectOf(u store.User) string { return cmp.Or(u.Subject, u.ID) }

// signIns returns when each user of the zone last signed in.
func (c *call) signIns() map[string]time.Time {
	if c.signedIn != nil {
		return c.signedIn
	}
	c.signedIn = map[string]time.Time{}
	for _, x := range c.tx.Sessions.All(c.zone.ID, func(x store.Session) bool { return x.Type == store.SessionUser }) {
		if x.AuthenticatedAt.After(c.signedIn[x.UserID]) {
			c.signedIn[x.UserID] = x.AuthenticatedAt.UTC().Truncate(time.Millisecond)
		}
	}
	return c.signedIn
}

type userAgentView struct {
	base
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
}

// userAgents are the clients that registered themselves. The API only reads them.
var userAgents = kind[store.UserAgent]{
	table: func(tx *store.Tx) *store.Table[store.UserAgent] { return tx.UserAgents },
	view: func(c *call, u store.UserAgent) any {
		return userAgentView{base: c.base(u.Meta), Identifier: u.Identifier, Name: u.Name}
	},
}
