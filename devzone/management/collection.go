// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// base is the part that most answers share.
type base struct {
	ID             string    `json:"id"`
	OrganizationID string    `json:"organization_id"`
	ZoneID         string    `json:"zone_id"`
	Slug           string    `json:"slug,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

func (s *server) base(m store.Meta) base {
	return base{
		ID: m.ID, OrganizationID: s.OrganizationID, ZoneID: m.ZoneID,
		Slug: m.Slug, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
	}
}

// collection is a kind of object with the five usual endpoints.
type collection[T any, P store.Row[T]] struct {
	server *server
	table  func(tx *store.Tx) *store.Table[T, P]
	meta   func(T) store.Meta
	view   func(tx *store.Tx, row T) any
	// read applies a body to a row and reports bad values to the object.
	read   func(tx *store.Tx, o object, row *T, creating bool)
	create func(tx *store.Tx, row T) (T, error)
	remove func(tx *store.Tx, row T) error
	// frozen says that a row may not be changed.
	frozen func(row T) bool
	// filter returns the test for a list's query.
	filter func(q url.Values) (func(T) bool, error)
	// empty makes the row that a create body is applied to.
	empty func(zoneID string) T
	// legacy is true for lists with the older page_info block.
	legacy bool
}

// list answers GET on the collection.
func (c collection[T, P]) list(r *http.Request) (any, error) {
	keep, err := c.filter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return listOf(c.server, r, c.legacy, func(tx *store.Tx) ([]item, error) {
		rows := c.table(tx).All(r.PathValue("zone"), keep)
		items := make([]item, 0, len(rows))
		for _, row := range rows {
			items = append(items, item{seq: c.meta(row).Seq, view: c.view(tx, row)})
		}
		return items, nil
	})
}

// post answers POST on the collection.
func (c collection[T, P]) post(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var out any
	err = c.server.Store.Do(func(tx *store.Tx) error {
		row := c.empty(r.PathValue("zone"))
		c.read(tx, o, &row, true)
		if err := o.err(); err != nil {
			return err
		}
		row, err := c.create(tx, row)
		if err != nil {
			return err
		}
		out = c.view(tx, row)
		return nil
	})
	return out, err
}

// get answers GET on one object.
func (c collection[T, P]) get(r *http.Request) (any, error) {
	var out any
	err := c.server.Store.View(func(tx *store.Tx) error {
		row, err := c.table(tx).Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return err
		}
		out = c.view(tx, row)
		return nil
	})
	return out, err
}

// patch answers PATCH on one object.
func (c collection[T, P]) patch(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var out any
	err = c.server.Store.Do(func(tx *store.Tx) error {
		row, err := c.table(tx).Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return err
		}
		if c.frozen(row) {
			return forbidden("the object belongs to the platform and cannot be changed")
		}
		c.read(tx, o, &row, false)
		if err := o.err(); err != nil {
			return err
		}
		row, err = c.table(tx).Replace(row)
		if err != nil {
			return err
		}
		out = c.view(tx, row)
		return nil
	})
	return out, err
}

// delete answers DELETE on one object.
func (c collection[T, P]) delete(r *http.Request) (any, error) {
	return nil, c.server.Store.Do(func(tx *store.Tx) error {
		row, err := c.table(tx).Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return err
		}
		if c.frozen(row) {
			return forbidden("the object belongs to the platform and cannot be deleted")
		}
		return c.remove(tx, row)
	})
}

// routes registers the five endpoints below /zones/{zone}.
func (c collection[T, P]) routes(name string) {
	path := "/zones/{zone}/" + name
	c.server.inZone("GET "+path, c.list)
	c.server.inZone("POST "+path, c.post)
	c.server.inZone("GET "+path+"/{id}", c.get)
	c.server.inZone("PATCH "+path+"/{id}", c.patch)
	c.server.inZone("DELETE "+path+"/{id}", c.delete)
}

// listOf answers any list: it parses the paging, collects the items and cuts
// the page.
func listOf(s *server, r *http.Request, legacy bool, collect func(tx *store.Tx) ([]item, error)) (any, error) {
	page, err := parsePage(r.URL.Query(), legacy)
	if err != nil {
		return nil, err
	}
	var items []item
	err = s.Store.View(func(tx *store.Tx) error {
		items, err = collect(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return pageOf(items, page, legacy), nil
}

// equals tests a value against a filter that may be absent.
func equals(filter, value string) bool { return filter == "" || filter == value }
