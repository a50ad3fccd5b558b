// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type memberView struct {
	ID                 string          `json:"id"`
	OrganizationID     string          `json:"organization_id"`
	OrganizationUserID string          `json:"organization_user_id"`
	ZoneID             string          `json:"zone_id"`
	Role               string          `json:"role"`
	CreatedAt          time.Time       `json:"created_at"`
	UpdatedAt          time.Time       `json:"updated_at"`
	Links              map[string]link `json:"_links"`
}

type link struct {
	Href string `json:"href"`
}

// memberRoutes registers the people who may manage a zone. Nobody signs in to
// this management API, so that the roles have no effect here.
func (s *server) memberRoutes() {
	const path = "/zones/{zone}/members"
	members := collection[store.Member, *store.Member]{
		server: s,
		legacy: true,
		table:  func(tx *store.Tx) *store.Table[store.Member, *store.Member] { return tx.Members },
		meta:   func(m store.Member) store.Meta { return m.Meta },
		view:   func(_ *store.Tx, m store.Member) any { return s.memberView(m) },
		read: func(_ *store.Tx, o object, m *store.Member, creating bool) {
			if creating {
				o.text("organization_user_id", true, &m.OrganizationUserID, isName)
			}
			o.text("role", true, &m.Role, isOneOf(store.RoleManager, store.RoleViewer))
		},
		empty: func(zoneID string) store.Member { return store.Member{Meta: store.Meta{ZoneID: zoneID}} },
		filter: func(q url.Values) (func(store.Member) bool, error) {
			if role := q.Get("role"); role != "" && role != store.RoleManager && role != store.RoleViewer {
				return nil, badRequest("role: must be one of %s, %s", store.RoleManager, store.RoleViewer)
			}
			return func(m store.Member) bool { return equals(q.Get("role"), m.Role) }, nil
		},
		frozen: func(store.Member) bool { return false },
		create: func(tx *store.Tx, m store.Member) (store.Member, error) { return tx.Members.Insert(m) },
		remove: func(tx *store.Tx, m store.Member) error { return tx.Members.Delete(m.ZoneID, m.ID) },
	}
	s.inZone("GET "+path, members.list)
	s.inZone("POST "+path, members.post)
	s.inZone("GET "+path+"/{member}", s.byMember(members.get))
	s.inZone("PATCH "+path+"/{member}", s.byMember(members.patch))
	s.inZone("DELETE "+path+"/{member}", s.byMember(members.delete))
}

// byMember finds the row of the organization's user that the path names.
func (s *server) byMember(e endpoint) endpoint {
	return func(r *http.Request) (any, error) {
		r.SetPathValue("id", r.PathValue("member"))
		err := s.Store.View(func(tx *store.Tx) error {
			if m, ok := tx.Members.Find(r.PathValue("zone"), r.PathValue("member")); ok {
				r.SetPathValue("id", m.ID)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return e(r)
	}
}

func (s *server) memberView(m store.Member) memberView {
	return memberView{
		ID: m.ID, OrganizationID: s.OrganizationID, OrganizationUserID: m.OrganizationUserID, ZoneID: m.ZoneID, Role: m.Role,
		CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
		Links: map[string]link{
			"self":              {"/zones/" + m.ZoneID + "/members/" + m.OrganizationUserID},
			"organization_user": {"/organizations/" + s.OrganizationID + "/users/" + m.OrganizationUserID},
		},
	}
}
