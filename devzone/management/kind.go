// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// kind is a kind of object: how its rows are found, shown, read and changed. Its methods answer
// the five usual operations.
type kind[T any] struct {
	table func(tx *store.Tx) *store.Table[T]
	view  func(c *call, row T) any
	// param is the name of the object in the path; "id" when empty.
	param string
	// find looks for what the path names; the row with the id when nil.
	find func(c *call, name string) (T, bool)
	// within looks for what is before the object in the path, and returns which rows belong to it;
	// all of the zone do when nil.
	within func(c *call) (func(T) bool, error)

	// filters, orders, expands and shape are those of the list; see fields with these types.
	filters filters[T]
	orders  func(c *call) map[string]func(a, b T) int
	expands []string
	shape   shape
	// shown are the parameters that change how an object is shown.
	shown []string

	// empty is the row that a create body is applied to.
	empty func(c *call) T
	// fields are those of a body, and put their values into the row.
	fields func(c *call, row *T, creating bool) fields
	// insert stores a new row; into the table when nil.
	insert func(c *call, row T) (T, error)
	// guard refuses to change or delete a row.
	guard func(c *call, row T) error
	// adjust completes a change that was read.
	adjust func(c *call, row *T) error
	// remove deletes a row; from the table when nil.
	remove func(c *call, row T) error
	// archive, if there, is what DELETE does instead, and its answer is the row.
	archive func(c *call, row *T) error
}

// verbs are what can be done with a kind.
type verbs int

const (
	list verbs = 1 << iota
	create
	get
	update
	remove
	all = list | create | get | update | remove
)

// serve registers operations below a path.
func (k kind[T]) serve(s *server, path string, v verbs) {
	k.param = cmp.Or(k.param, "id")
	fieldsOf := func(creating bool) func(c *call) fields {
		return func(c *call) fields { return k.fields(c, new(T), creating) }
	}
	one := path + "/{" + k.param + "}"
	for _, op := range []struct {
		verb verbs
		operation
	}{
		{list, operation{pattern: "GET " + path, params: k.listParams(), answer: k.list}},
		{create, operation{pattern: "POST " + path, fields: fieldsOf(true), answer: k.create}},
		{get, operation{pattern: "GET " + one, params: k.shown, answer: k.get}},
		{update, operation{pattern: "PATCH " + one, fields: fieldsOf(false), answer: k.update}},
		{remove, operation{pattern: "DELETE " + one, answer: k.delete}},
	} {
		if v&op.verb != 0 {
			s.add(op.operation)
		}
	}
}

// zoneOf is the zone of the rows that a request is about. Zones themselves are in none.
func (k kind[T]) zoneOf(c *call) string {
	if k.param == "zone" {
		return ""
	}
	return c.zone.ID
}

func (k kind[T]) scope(c *call) (func(T) bool, error) {
	if k.within == nil {
		return func(T) bool { return true }, nil
	}
	return k.within(c)
}

// named returns the row that the path names.
func (k kind[T]) named(c *call) (row T, err error) {
	belongs, err := k.scope(c)
	if err != nil {
		return row, err
	}
	table, name := k.table(c.tx), c.r.PathValue(cmp.Or(k.param, "id"))
	found := true
	if k.find != nil {
		row, found = k.find(c, name)
	} else if row, err = table.Get(k.zoneOf(c), name); err != nil {
		return row, err
	}
	if !found || !belongs(row) {
		return row, table.Missing(name)
	}
	return row, nil
}

func (k kind[T]) list(c *call) (any, error) {
	belongs, err := k.scope(c)
	if err != nil {
		return nil, err
	}
	keep, err := k.filters.test(c)
	if err != nil {
		return nil, err
	}
	return k.listed(c, k.table(c.tx).All(k.zoneOf(c), func(row T) bool { return belongs(row) && keep(row) }))
}

// listed answers a list of rows.
func (k kind[T]) listed(c *call, rows []T) (any, error) {
	table, sorted := k.table(c.tx), false
	if k.orders != nil {
		seq := func(row T) uint64 { return table.Meta(row).Seq }
		var err error
		if sorted, err = sortRows(c.params, k.orders(c), seq, rows); err != nil {
			return nil, err
		}
	}
	items := make([]item, 0, len(rows))
	for _, row := range rows {
		items = append(items, item{seq: table.Meta(row).Seq, view: k.view(c, row)})
	}
	return c.page(items, sorted, k.shape, k.expands...)
}

func (k kind[T]) create(c *call) (any, error) {
	var row T
	if k.empty != nil {
		row = k.empty(c)
	}
	if err := c.read(k.fields(c, &row, true)); err != nil {
		return nil, err
	}
	if _, err := k.scope(c); err != nil {
		return nil, err
	}
	insert := k.insert
	if insert == nil {
		insert = func(c *call, row T) (T, error) { return k.table(c.tx).Insert(row) }
	}
	row, err := insert(c, row)
	if err != nil {
		return nil, err
	}
	return k.view(c, row), nil
}

func (k kind[T]) get(c *call) (any, error) {
	row, err := k.named(c)
	if err != nil {
		return nil, err
	}
	return k.view(c, row), nil
}

// changing returns the row that the path names if it may be changed.
func (k kind[T]) changing(c *call) (T, error) {
	row, err := k.named(c)
	if err == nil && k.guard != nil {
		err = k.guard(c, row)
	}
	if err != nil {
		return row, err
	}
	if t, ok := k.view(c, row).(tagged); ok {
		err = matches(c.r, t.tag())
	}
	return row, err
}

func (k kind[T]) update(c *call) (any, error) {
	row, err := k.changing(c)
	if err != nil {
		return nil, err
	}
	if err := c.read(k.fields(c, &row, false)); err != nil {
		return nil, err
	}
	return k.replace(c, row, k.adjust)
}

// replace stores a changed row.
func (k kind[T]) replace(c *call, row T, adjust func(c *call, row *T) error) (any, error) {
	if adjust != nil {
		if err := adjust(c, &row); err != nil {
			return nil, err
		}
	}
	row, err := k.table(c.tx).Replace(row)
	if err != nil {
		return nil, err
	}
	return k.view(c, row), nil
}

func (k kind[T]) delete(c *call) (any, error) {
	row, err := k.changing(c)
	switch {
	case err != nil:
		return nil, err
	case k.archive != nil:
		return k.replace(c, row, k.archive)
	case k.remove != nil:
		return nil, k.remove(c, row)
	}
	return nil, k.table(c.tx).Delete(k.zoneOf(c), k.table(c.tx).Meta(row).ID)
}

// base is the part that most answers share.
type base struct {
	ID             string    `json:"id"`
	OrganizationID string    `json:"organization_id,omitempty"`
	ZoneID         string    `json:"zone_id,omitempty"`
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

// unnamed is base without slug, for kinds that have none on the wire.
func (s *server) unnamed(m store.Meta) base {
	m.Slug = ""
	return s.base(m)
}

// plain is base without organization and slug.
func plain(m store.Meta) base {
	return base{ID: m.ID, ZoneID: m.ZoneID, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt}
}

// notOfPlatform is the guard of kinds of which the platform owns objects.
func notOfPlatform(c *call, owner string) error {
	if owner != store.OwnerPlatform {
		return nil
	}
	verb := "changed"
	if c.r.Method == http.MethodDelete {
		verb = "deleted"
	}
	return forbidden("the object belongs to the platform and cannot be %s", verb)
}

// exists is the rule for a field that holds the id of an object of the zone.
func exists[T any](table *store.Table[T], zoneID, kind string) rule {
	return func(id string) string {
		if _, err := table.Get(zoneID, id); err != nil {
			return "no " + kind + " of the zone has this id"
		}
		return ""
	}
}
