// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// maxFilterIDs is how many filter[id] values a list takes.
const maxFilterIDs = 100

type userView struct {
	base
	Slug            string     `json:"slug,omitempty"`
	Identifier      string     `json:"identifier"`
	Email           string     `json:"email"`
	EmailVerified   bool       `json:"email_verified"`
	Issuer          string     `json:"issuer"`
	ProviderID      string     `json:"provider_id,omitempty"`
	Subject         string     `json:"subject"`
	AuthenticatedAt *time.Time `json:"authenticated_at,omitempty"`
}

func (s *server) userRoutes() {
	s.inZone("GET /zones/{zone}/users", s.users)
	s.inZone("GET /zones/{zone}/users/{id}", s.getUser)
}

// userRow is a user with the time of the last sign-in, which is zero for one who
// never signed in.
type userRow struct {
	store.User
	authenticated time.Time
}

func (s *server) userView(u userRow) userView {
	v := userView{
		base:          s.base(u.Meta),
		Identifier:    u.Identifier,
		Email:         u.Email,
		EmailVerified: !u.EmailUnverified,
		Issuer:        cmp.Or(u.Issuer, s.Issuers.Of(u.ZoneID)),
		ProviderID:    u.ProviderID,
		Subject:       subjectOf(u.User),
	}
	if !u.authenticated.IsZero() {
		v.AuthenticatedAt = &u.authenticated
	}
	return v
}

// subjectOf is what the issuer of the person calls her.
func subjectOf(u store.User) string { return cmp.Or(u.Subject, u.ID) }

func (s *server) getUser(r *http.Request) (any, error) {
	var out any
	err := s.Store.View(func(tx *store.Tx) error {
		u, err := tx.Users.Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return err
		}
		out = s.userView(userRow{User: u, authenticated: signIns(tx, u.ZoneID)[u.ID]})
		return nil
	})
	return out, err
}

// signIns returns when each user of the zone last signed in.
func signIns(tx *store.Tx, zoneID string) map[string]time.Time {
	last := map[string]time.Time{}
	for _, x := range tx.Sessions.All(zoneID, func(x store.Session) bool { return x.Type == store.SessionUser }) {
		if x.AuthenticatedAt.After(last[x.UserID]) {
			last[x.UserID] = x.AuthenticatedAt.UTC().Truncate(time.Millisecond)
		}
	}
	return last
}

func (s *server) users(r *http.Request) (any, error) {
	q := r.URL.Query()
	keep, err := filterUsers(q)
	if err != nil {
		return nil, err
	}
	compare, err := userOrder(q.Get("sort"))
	if err != nil {
		return nil, err
	}
	page, err := parsePage(q, false)
	if err != nil {
		return nil, err
	}
	page.sorted = true
	items := []item{}
	err = s.Store.View(func(tx *store.Tx) error {
		last := signIns(tx, r.PathValue("zone"))
		var rows []userRow
		for _, u := range tx.Users.All(r.PathValue("zone"), keep) {
			rows = append(rows, userRow{User: u, authenticated: last[u.ID]})
		}
		slices.SortStableFunc(rows, compare)
		for _, row := range rows {
			items = append(items, item{seq: row.Seq, view: s.userView(row)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return pageOf(items, page, false), nil
}

// userOrders are the accepted values of sort. A - before one turns it round.
var userOrders = map[string]func(a, b userRow) int{
	"created_at":       func(a, b userRow) int { return cmp.Compare(a.Seq, b.Seq) },
	"email":            func(a, b userRow) int { return cmp.Compare(strings.ToLower(a.Email), strings.ToLower(b.Email)) },
	"authenticated_at": func(a, b userRow) int { return a.authenticated.Compare(b.authenticated) },
}

func userOrder(sort string) (func(a, b userRow) int, error) {
	field, descending := strings.CutPrefix(sort, "-")
	compare, ok := userOrders[cmp.Or(field, "created_at")]
	switch {
	case !ok || sort == "-":
		return nil, badRequest("sort: must be one of created_at, email, authenticated_at, with - before it for descending order")
	case descending:
		return func(a, b userRow) int { return compare(b, a) }, nil
	}
	return compare, nil
}

// filterUsers accepts the filter and query parameters. A query looks for a part
// of the text, in any case; query[] looks for it anywhere.
func filterUsers(q url.Values) (func(store.User) bool, error) {
	ids := q["filter[id]"]
	if len(ids) > maxFilterIDs {
		return nil, badRequest("filter[id]: at most %d values", maxFilterIDs)
	}
	if len(ids) > 0 && (q.Get("after") != "" || q.Get("before") != "") {
		return nil, badRequest("filter[id]: cannot be used together with a cursor")
	}
	has := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	emails := q["filter[email]"]
	return func(u store.User) bool {
		email := func(e string) bool { return strings.EqualFold(e, u.Email) }
		missing := func(part string) bool { return !has(u.Email+"\n"+u.Identifier+"\n"+subjectOf(u), part) }
		return (len(ids) == 0 || slices.Contains(ids, u.ID)) &&
			(len(emails) == 0 || slices.ContainsFunc(emails, email)) &&
			has(u.Email, q.Get("query[email]")) && has(subjectOf(u), q.Get("query[subject]")) &&
			!slices.ContainsFunc(q["query[]"], missing)
	}, nil
}
