// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type organizationView struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Label      string    `json:"label"`
	SSOEnabled bool      `json:"sso_enabled"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// organizationList is a list of the organization family, whose paging block has
// a key of its own.
type organizationList struct {
	Items    []any                `json:"items"`
	PageInfo organizationPageInfo `json:"page_info"`
}

type organizationPageInfo struct {
	HasNextPage bool    `json:"has_next_page"`
	HasPrevPage bool    `json:"has_prev_page"`
	StartCursor *string `json:"start_cursor"`
	EndCursor   *string `json:"end_cursor"`
}

// organizationRoutes registers the one organization. It has no people: nobody
// signs in to this management API.
func (s *server) organizationRoutes() {
	s.handle("GET /organizations", func(r *http.Request) (any, error) {
		return s.organizationItems(r, func(tx *store.Tx) []item {
			var items []item
			for _, o := range tx.Organizations.All("", nil) {
				items = append(items, item{seq: o.Seq, view: organizationViewOf(o)})
			}
			return items
		})
	})
	s.handle("POST /organizations", func(*http.Request) (any, error) {
		return nil, forbidden("this server has one organization, %s, and makes no other", store.OrganizationID)
	})
	const path = "/organizations/{organization}"
	s.inOrganization("GET "+path, func(*http.Request, store.Organization) (any, error) { return nil, nil })
	s.inOrganization("PATCH "+path, s.renameOrganization)
	s.inOrganization("POST "+path+"/token", func(*http.Request, store.Organization) (any, error) {
		return nil, forbidden("there are no people whose tokens could be exchanged: log in at /service-account-token")
	})
	for _, name := range []string{"identities", "roles", "users", "invitations"} {
		s.inOrganization("GET "+path+"/"+name, func(r *http.Request, _ store.Organization) (any, error) {
			return s.organizationItems(r, func(*store.Tx) []item { return nil })
		})
	}
	s.inOrganization("GET "+path+"/sso-connection", func(*http.Request, store.Organization) (any, error) {
		return nil, notFound("single sign-on is not enabled")
	})
	s.inOrganization("POST "+path+"/sso-connection", func(*http.Request, store.Organization) (any, error) {
		return nil, forbidden("this server has no people who could sign in")
	})
}

func organizationViewOf(o store.Organization) organizationView {
	return organizationView{ID: o.ID, Name: o.Name, Label: o.Slug, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt}
}

// inOrganization registers an endpoint for the organization, which the path
// names by id or label. An endpoint that answers nothing answers the
// organization.
func (s *server) inOrganization(pattern string, e func(*http.Request, store.Organization) (any, error)) {
	s.handle(pattern, func(r *http.Request) (any, error) {
		var found store.Organization
		name := r.PathValue("organization")
		err := s.Store.View(func(tx *store.Tx) error {
			for _, o := range tx.Organizations.All("", nil) {
				if o.ID == name || o.Slug == name {
					found = o
					return nil
				}
			}
			return &store.NotFoundError{Kind: "organization", ID: name}
		})
		if err != nil {
			return nil, err
		}
		out, err := e(r, found)
		if out == nil && err == nil && r.Method == http.MethodGet {
			return organizationViewOf(found), nil
		}
		return out, err
	})
}

func (s *server) renameOrganization(r *http.Request, o store.Organization) (any, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	body.text("name", false, &o.Name, isName)
	if err := body.err(); err != nil {
		return nil, err
	}
	err = s.Store.Do(func(tx *store.Tx) error {
		o, err = tx.Organizations.Replace(o)
		return err
	})
	return organizationViewOf(o), err
}

// organizationItems cuts a page of the family's lists.
func (s *server) organizationItems(r *http.Request, collect func(tx *store.Tx) []item) (any, error) {
	page, err := listOf(s, r, true, func(tx *store.Tx) ([]item, error) { return collect(tx), nil })
	if err != nil {
		return nil, err
	}
	l := page.(list) //nolint:forcetypeassert // listOf makes nothing else
	return organizationList{Items: l.Items, PageInfo: organizationPageInfo{
		HasNextPage: l.PageInfo.HasNextPage, HasPrevPage: l.PageInfo.HasPreviousPage,
		StartCursor: l.PageInfo.StartCursor, EndCursor: l.PageInfo.EndCursor,
	}}, nil
}
