// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import "github.com/keycardai/keycard-operator/devzone/store"

type memberView struct {
	base
	OrganizationUserID string          `json:"organization_user_id"`
	Role               string          `json:"role"`
	Links              map[string]link `json:"_links"`
}

type link struct {
	Href string `json:"href"`
}

var roles = []string{store.RoleManager, store.RoleViewer}

// members are the people who may manage a zone, named by the organization's user. Nobody signs in
// to this management API, so that the roles have no effect here.
var members = kind[store.Member]{
	shape: legacy,
	param: "member",
	table: func(tx *store.Tx) *store.Table[store.Member] { return tx.Members },
	view: func(c *call, m store.Member) any {
		return memberView{
			base: c.unnamed(m.Meta), OrganizationUserID: m.OrganizationUserID, Role: m.Role,
			Links: map[string]link{
				"self":              {"/zones/" + m.ZoneID + "/members/" + m.OrganizationUserID},
				"organization_user": {"/organizations/" + c.OrganizationID + "/users/" + m.OrganizationUserID},
			},
		}
	},
	find:  func(c *call, user string) (store.Member, bool) { return c.tx.Members.Find(c.zone.ID, user) },
	empty: func(c *call) store.Member { return store.Member{Meta: store.Meta{ZoneID: c.zone.ID}} },
	fields: func(_ *call, m *store.Member, creating bool) fields {
		out := fields{text("role", true, &m.Role, isOneOf(roles...))}
		if creating {
			out = append(out, text("organization_user_id", true, &m.OrganizationUserID, isName))
		}
		return out
	},
	filters: filters[store.Member]{"role": is(func(m store.Member) string { return m.Role }, roles...)},
}
