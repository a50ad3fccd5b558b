// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type grantView struct {
	ID              string     `json:"id"`
	OrganizationID  string     `json:"organization_id"`
	ZoneID          string     `json:"zone_id"`
	UserID          string     `json:"user_id"`
	ResourceID      string     `json:"resource_id"`
	ProviderID      string     `json:"provider_id"`
	Scopes          []string   `json:"scopes"`
	Status          string     `json:"status"`
	Active          bool       `json:"active"`
	RefreshTokenSet bool       `json:"refresh_token_set"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	ExpiresAt       time.Time  `json:"expires_at"`
	RefreshedAt     *time.Time `json:"refreshed_at,omitempty"`
}

// grantRoutes registers delegated grants. They come to exist by a user's
// consent only, and the one change is revocation. An application's own grants
// are not delegated by anyone, so they are invisible here.
func (s *server) grantRoutes() {
	grants := collection[store.Grant, *store.Grant]{
		server: s,
		table:  func(tx *store.Tx) *store.Table[store.Grant, *store.Grant] { return tx.Grants },
		meta:   func(g store.Grant) store.Meta { return g.Meta },
		view:   func(_ *store.Tx, g store.Grant) any { return s.grantView(g) },
		filter: filterGrants,
	}
	const path = "/zones/{zone}/delegated-grants"
	s.inZone("GET "+path, grants.list)
	s.inZone("GET "+path+"/{id}", s.getGrant)
	s.inZone("PATCH "+path+"/{id}", s.revokeGrant)
	s.inZone("DELETE "+path+"/{id}", s.deleteGrant)
}

func (s *server) grantView(g store.Grant) grantView {
	return grantView{
		ID:              g.ID,
		OrganizationID:  s.OrganizationID,
		ZoneID:          g.ZoneID,
		UserID:          g.UserID,
		ResourceID:      g.ResourceID,
		ProviderID:      g.ProviderID,
		Scopes:          append([]string{}, g.Scopes...),
		Status:          g.Status,
		Active:          g.Status == store.GrantActive,
		RefreshTokenSet: g.RefreshToken != "",
		CreatedAt:       g.CreatedAt,
		UpdatedAt:       g.UpdatedAt,
		ExpiresAt:       g.ExpiresAt,
		RefreshedAt:     g.RefreshedAt,
	}
}

func filterGrants(q url.Values) (func(store.Grant) bool, error) {
	status := q.Get("status")
	switch status {
	case "", store.GrantActive, store.GrantExpired, store.GrantRevoked:
	default:
		return nil, badRequest("status: must be one of active, expired, revoked")
	}
	if q.Has("active") {
		if q.Get("active") != "true" {
			return nil, badRequest("active: the only accepted value is true")
		}
		if status != "" && status != store.GrantActive {
			return nil, badRequest("active: contradicts status")
		}
		status = store.GrantActive
	}
	return func(g store.Grant) bool {
		return g.UserID != "" && equals(q.Get("user_id"), g.UserID) &&
			equals(q.Get("resource_id"), g.ResourceID) && equals(status, g.Status)
	}, nil
}

func findGrant(tx *store.Tx, r *http.Request) (store.Grant, error) {
	g, err := tx.Grants.Get(r.PathValue("zone"), r.PathValue("id"))
	if err == nil && g.UserID == "" {
		return g, &store.NotFoundError{Kind: "delegated grant", ID: g.ID}
	}
	return g, err
}

func (s *server) getGrant(r *http.Request) (any, error) {
	var out any
	err := s.Store.View(func(tx *store.Tx) error {
		g, err := findGrant(tx, r)
		out = s.grantView(g)
		return err
	})
	return out, err
}

func (s *server) revokeGrant(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var status string
	o.text("status", true, &status, isOneOf(store.GrantRevoked))
	if err := o.err(); err != nil {
		return nil, err
	}
	var out any
	err = s.Store.Do(func(tx *store.Tx) error {
		g, err := findGrant(tx, r)
		if err != nil {
			return err
		}
		g.Status = store.GrantRevoked
		g.AccessToken, g.RefreshToken = "", ""
		if g, err = tx.Grants.Replace(g); err != nil {
			return err
		}
		out = s.grantView(g)
		return nil
	})
	return out, err
}

// deleteGrant forgets the grant. The user's seeded consent was used up when the
// grant was made, so nothing makes it again behind her back.
func (s *server) deleteGrant(r *http.Request) (any, error) {
	return nil, s.Store.Do(func(tx *store.Tx) error {
		g, err := findGrant(tx, r)
		if err != nil {
			return err
		}
		return tx.Grants.Delete(g.ZoneID, g.ID)
	})
}
