// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// maxFilterIDs is how many filter[id] values a list takes.
const maxFilterIDs = 100

type userView struct {
	base
	Slug          string `json:"slug,omitempty"`
	Identifier    string `json:"identifier"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	Issuer        string `json:"issuer"`
	Subject       string `json:"subject"`
}

func (s *server) userRoutes() {
	users := collection[store.User, *store.User]{
		server: s,
		table:  func(tx *store.Tx) *store.Table[store.User, *store.User] { return tx.Users },
		meta:   func(u store.User) store.Meta { return u.Meta },
		view:   func(_ *store.Tx, u store.User) any { return s.userView(u) },
		filter: filterUsers,
	}
	s.inZone("GET /zones/{zone}/users", users.list)
	s.inZone("GET /zones/{zone}/users/{id}", users.get)
}

func (s *server) userView(u store.User) userView {
	return userView{
		base:          s.base(u.Meta),
		Identifier:    u.Identifier,
		Email:         u.Email,
		EmailVerified: true,
		Issuer:        s.Issuers.Of(u.ZoneID),
		Subject:       u.ID,
	}
}

// filterUsers accepts filter[email], filter[id] and query[email], and refuses
// the sort orders that it does not have rather than answering in another.
func filterUsers(q url.Values) (func(store.User) bool, error) {
	ids := q["filter[id]"]
	if len(ids) > maxFilterIDs {
		return nil, badRequest("filter[id]: at most %d values", maxFilterIDs)
	}
	if len(ids) > 0 && (q.Get("after") != "" || q.Get("before") != "") {
		return nil, badRequest("filter[id]: cannot be used together with a cursor")
	}
	if sort := q.Get("sort"); sort != "" && sort != "created_at" {
		return nil, badRequest("sort: only created_at is supported here")
	}
	email, part := q.Get("filter[email]"), strings.ToLower(q.Get("query[email]"))
	return func(u store.User) bool {
		return (len(ids) == 0 || slices.Contains(ids, u.ID)) &&
			(email == "" || strings.EqualFold(email, u.Email)) &&
			strings.Contains(strings.ToLower(u.Email), part)
	}, nil
}
