// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/disk"
)

// Meta is what every object has.
type Meta struct {
	// ID is opaque and made by the store unless the row brings one.
	ID string
	// ZoneID is empty for objects outside of zones.
	ZoneID string
	// Slug is made by the store from the object's name.
	Slug      string
	CreatedAt time.Time
	UpdatedAt time.Time
	// Seq grows with each insert. Lists are ordered by it, and cursors hold it,
	// so that a page stays valid when rows of other pages come and go.
	Seq uint64
}

func (m *Meta) base() *Meta { return m }

// row is a pointer to a struct that embeds Meta.
type row interface {
	base() *Meta
	// key is unique in the zone; empty means that the row has none.
	key() string
	// label is the name that the slug is made from.
	label() string
}

// grouped is a row that Table.Of finds by what it belongs to.
type grouped interface {
	// group is usually the id of another row; empty means none.
	group() string
}

// Table holds the rows of one kind.
type Table[T any] struct {
	kind    string
	rows    map[string]*T
	keys    map[string]string
	groups  map[string]map[string]bool
	row     func(*T) row
	journal *journal
}

// NotFoundError says that a zone has no object with the given id.
type NotFoundError struct {
	// Kind is the object's kind in words, such as "provider".
	Kind string
	ID   string
}

// Error names kind and id.
func (e *NotFoundError) Error() string { return fmt.Sprintf("no %s has the id %q", e.Kind, e.ID) }

// ConflictError says that the unique key of an object is taken.
type ConflictError struct {
	// Kind is the object's kind in words, such as "provider".
	Kind string
}

// Error names the kind.
func (e *ConflictError) Error() string { return e.Kind + " identifier is already in use" }

func newTable[T any, P interface {
	*T
	row
}](kind string, j *journal) *Table[T] {
	t := &Table[T]{
		kind: kind, rows: map[string]*T{}, keys: map[string]string{}, groups: map[string]map[string]bool{},
		row: func(x *T) row { return P(x) }, journal: j,
	}
	j.tables = append(j.tables, t)
	return t
}

// load puts the rows that the disk has into the table.
func (t *Table[T]) load(db *disk.DB) error {
	return db.Each(t.kind, func(_ string, value []byte) error {
		var x T
		if err := json.Unmarshal(value, &x); err != nil {
			return fmt.Errorf("decoding a %s: %w", t.kind, err)
		}
		t.put(x)
		return nil
	})
}

// record notes what the disk has to do. Value is a copy of the row, or nil.
func (t *Table[T]) record(id string, value any) {
	t.journal.changes = append(t.journal.changes, disk.Change{Bucket: t.kind, Key: id, Value: value})
}

// Meta returns what a row of the table has in common with all others.
func (t *Table[T]) Meta(x T) Meta { return *t.row(&x).base() }

// Missing is the error for an id that no row has.
func (t *Table[T]) Missing(id string) error { return &NotFoundError{Kind: t.kind, ID: id} }

// Get returns the row with the id in the zone, or a *NotFoundError.
func (t *Table[T]) Get(zoneID, id string) (T, error) {
	x, ok := t.rows[id]
	if !ok || t.row(x).base().ZoneID != zoneID {
		var none T
		return none, t.Missing(id)
	}
	return *x, nil
}

// Find returns the row with the unique key in the zone.
func (t *Table[T]) Find(zoneID, key string) (x T, ok bool) {
	id, ok := t.keys[scoped(zoneID, key)]
	if !ok {
		return x, false
	}
	return *t.rows[id], true
}

// All returns the rows of the zone that keep accepts (nil accepts all), in
// order of creation.
func (t *Table[T]) All(zoneID string, keep func(T) bool) []T {
	found := []*T{}
	for _, x := range t.rows {
		if t.row(x).base().ZoneID == zoneID && (keep == nil || keep(*x)) {
			found = append(found, x)
		}
	}
	return t.inOrder(found)
}

// Of returns the rows of the zone that belong to a group, in order of creation.
// It looks at no others. Which group a row belongs to is its kind's to say: a
// dependency belongs to its application, a session to its parent.
func (t *Table[T]) Of(zoneID, group string) []T {
	found := []*T{}
	for member := range t.groups[scoped(zoneID, group)] {
		found = append(found, t.rows[member])
	}
	return t.inOrder(found)
}

func (t *Table[T]) inOrder(found []*T) []T {
	slices.SortFunc(found, func(a, b *T) int { return cmp.Compare(t.row(a).base().Seq, t.row(b).base().Seq) })
	out := make([]T, len(found))
	for i, x := range found {
		out[i] = *x
	}
	return out
}

// Insert adds the row and returns it with id, slug, times and sequence number.
// A taken key gives a *ConflictError.
func (t *Table[T]) Insert(x T) (T, error) {
	p := t.row(&x)
	m := p.base()
	if m.ID == "" {
		m.ID = NewID()
	}
	_, used := t.keys[scoped(m.ZoneID, p.key())]
	if _, there := t.rows[m.ID]; used || there {
		return x, &ConflictError{Kind: t.kind}
	}
	t.journal.seq++
	m.Seq = t.journal.seq
	m.Slug = slug(p.label(), m.ID)
	m.CreatedAt = t.stamp()
	m.UpdatedAt = m.CreatedAt
	t.put(x)
	t.record(m.ID, x)
	t.journal.undo = append(t.journal.undo, func() { t.drop(x) })
	return x, nil
}

// Replace stores a changed copy of an existing row and returns it with a new
// updated_at. The identity (id, zone, slug, creation) cannot change.
func (t *Table[T]) Replace(x T) (T, error) {
	p := t.row(&x)
	m := p.base()
	stored, ok := t.rows[m.ID]
	if !ok {
		return x, t.Missing(m.ID)
	}
	old := *stored
	*m = t.Meta(old)
	if holder, used := t.keys[scoped(m.ZoneID, p.key())]; used && holder != m.ID {
		return x, &ConflictError{Kind: t.kind}
	}
	m.UpdatedAt = t.stamp()
	t.drop(old)
	t.put(x)
	t.record(m.ID, x)
	t.journal.undo = append(t.journal.undo, func() { t.drop(x); t.put(old) })
	return x, nil
}

// Delete removes the row with the id in the zone, or gives a *NotFoundError.
func (t *Table[T]) Delete(zoneID, id string) error {
	x, err := t.Get(zoneID, id)
	if err != nil {
		return err
	}
	t.remove(x)
	return nil
}

// deleteAll removes the rows of the zone that match accepts.
func (t *Table[T]) deleteAll(zoneID string, match func(T) bool) {
	for _, x := range t.All(zoneID, match) {
		t.remove(x)
	}
}

// clear removes the rows of the zone.
func (t *Table[T]) clear(zoneID string) { t.deleteAll(zoneID, nil) }

func (t *Table[T]) remove(x T) {
	t.drop(x)
	t.record(t.Meta(x).ID, nil)
	t.journal.undo = append(t.journal.undo, func() { t.put(x) })
}

func (t *Table[T]) put(x T) {
	p := t.row(&x)
	m := p.base()
	t.rows[m.ID] = &x
	if p.key() != "" {
		t.keys[scoped(m.ZoneID, p.key())] = m.ID
	}
	if g, ok := p.(grouped); ok && g.group() != "" {
		name := scoped(m.ZoneID, g.group())
		if t.groups[name] == nil {
			t.groups[name] = map[string]bool{}
		}
		t.groups[name][m.ID] = true
	}
}

func (t *Table[T]) drop(x T) {
	p := t.row(&x)
	m := p.base()
	delete(t.rows, m.ID)
	delete(t.keys, scoped(m.ZoneID, p.key()))
	if g, ok := p.(grouped); ok {
		name := scoped(m.ZoneID, g.group())
		delete(t.groups[name], m.ID)
		if len(t.groups[name]) == 0 {
			delete(t.groups, name)
		}
	}
}

func (t *Table[T]) stamp() time.Time {
	return t.journal.now().UTC().Truncate(time.Millisecond)
}

func scoped(zoneID, key string) string { return zoneID + "\x00" + key }

// slug makes a readable name of at most 63 characters that matches
// ^[a-z0-9]+(?:-[a-z0-9]+)*$ and is unique through the end of the id.
func slug(label, id string) string {
	words := strings.FieldsFunc(strings.ToLower(label), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	tail := strings.Trim(id[max(0, len(id)-6):], "-")
	head := strings.Join(words, "-")
	head = strings.Trim(head[:min(len(head), 50)], "-")
	return strings.Trim(head+"-"+tail, "-")
}
