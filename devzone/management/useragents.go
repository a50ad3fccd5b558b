// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type userAgentView struct {
	base
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
}

// userAgentRoutes registers the clients that registered themselves. The API only
// reads them.
func (s *server) userAgentRoutes() {
	agents := collection[store.UserAgent, *store.UserAgent]{
		server: s,
		table:  func(tx *store.Tx) *store.Table[store.UserAgent, *store.UserAgent] { return tx.UserAgents },
		meta:   func(u store.UserAgent) store.Meta { return u.Meta },
		view: func(_ *store.Tx, u store.UserAgent) any {
			return userAgentView{base: s.base(u.Meta), Identifier: u.Identifier, Name: u.Name}
		},
		filter: func(url.Values) (func(store.UserAgent) bool, error) { return nil, nil },
	}
	s.inZone("GET /zones/{zone}/user-agents", agents.list)
	s.inZone("GET /zones/{zone}/user-agents/{id}", agents.get)
}
