// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type grantView struct {
	base
	UserID          string     `json:"user_id"`
	ResourceID      string     `json:"resource_id"`
	ProviderID      string     `json:"provider_id"`
	Scopes          []string   `json:"scopes"`
	Status          string     `json:"status"`
	Active          bool       `json:"active"`
	RefreshTokenSet bool       `json:"refresh_token_set"`
	ExpiresAt       time.Time  `json:"expires_at"`
	RefreshedAt     *time.Time `json:"refreshed_at,omitempty"`
}

// grants are the delegated ones. They come to exist by a user's consent only, and the one change is
// revocation. An application's own grants are not delegated by anyone, so they are invisible here.
// A seeded consent is used up when the grant is made, so that nothing makes one that was deleted
// again.
var grants = kind[store.Grant]{
	table: func(tx *store.Tx) *store.Table[store.Grant] { return tx.Grants },
	view: func(c *call, g store.Grant) any {
		return grantView{
			base:            c.unnamed(g.Meta),
			UserID:          g.UserID,
			ResourceID:      g.ResourceID,
			ProviderID:      g.ProviderID,
			Scopes:          append([]string{}, g.Scopes...),
			Status:          g.Status,
			Active:          g.Status == store.GrantActive,
			RefreshTokenSet: g.RefreshToken != "",
			ExpiresAt:       g.ExpiresAt,
			RefreshedAt:     g.RefreshedAt,
		}
	},
	within: func(*call) (func(store.Grant) bool, error) {
		return func(g store.Grant) bool { return g.UserID != "" }, nil
	},
	filters: filters[store.Grant]{
		"user_id":     is(func(g store.Grant) string { return g.UserID }),
		"resource_id": is(func(g store.Grant) string { return g.ResourceID }),
		"status":      is(func(g store.Grant) string { return g.Status }, store.GrantActive, store.GrantExpired, store.GrantRevoked),
		"active":      must(func(g store.Grant) bool { return g.Status == store.GrantActive }),
	},
	orders: func(*call) map[string]func(a, b store.Grant) int { return nil },
	fields: func(_ *call, g *store.Grant, _ bool) fields { return revocation(&g.Status) },
	adjust: func(_ *call, g *store.Grant) error {
		g.AccessToken, g.RefreshToken = "", ""
		return nil
	},
}

// revocation is the one change of what came to exist by signing in: {"status":"revoked"}.
func revocation(status *string) fields {
	return fields{text("status", true, status, isOneOf(store.GrantRevoked))}
}
