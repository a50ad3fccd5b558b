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

// Sequence is the row's place in the order of creation.
func (m *Meta) Sequence() uint64 { return m.Seq }

// Row is a pointer to a struct that embeds Meta.
type Row[T any] interface {
	*T
	base() *Meta
	// Sequence is the row's place in the order of creation.
	Sequence() uint64
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
type Table[T any, P Row[T]] struct {
	kind    string
	rows    map[string]T
	keys    map[string]string
	groups  map[string]map[string]bool
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

func newTable[T any, P Row[T]](kind string, j *journal) *Table[T, P] {
	t := &Table[T, P]{kind: kind, rows: map[string]T{}, keys: map[string]string{}, groups: map[string]map[string]bool{}, journal: j}
	j.tables = append(j.tables, t.load)
	return t
}

// load puts the rows that the disk has into the table.
func (t *Table[T, P]) load(db *disk.DB) error {
	return db.Each(t.kind, func(_ string, value []byte) error {
		var row T
		if err := json.Unmarshal(value, &row); err != nil {
			return fmt.Errorf("decoding a %s: %w", t.kind, err)
		}
		t.put(row)
		return nil
	})
}

// record notes what the disk has to do. Value is a copy of the row, or nil.
func (t *Table[T, P]) record(id string, value any) {
	t.journal.changes = append(t.journal.changes, disk.Change{Bucket: t.kind, Key: id, Value: value})
}

// Get returns the row with the id in the zone, or a *NotFoundError.
func (t *Table[T, P]) Get(zoneID, id string) (T, error) {
	row, ok := t.rows[id]
	if !ok || P(&row).base().ZoneID != zoneID {
		var none T
		return none, &NotFoundError{Kind: t.kind, ID: id}
	}
	return row, nil
}

// Find returns the row with the unique key in the zone.
func (t *Table[T, P]) Find(zoneID, key string) (T, bool) {
	id, ok := t.keys[scoped(zoneID, key)]
	return t.rows[id], ok && key != ""
}

// All returns the rows of the zone that keep accepts (nil accepts all), in
// order of creation.
func (t *Table[T, P]) All(zoneID string, keep func(T) bool) []T {
	found := []T{}
	for _, row := range t.rows {
		if P(&row).base().ZoneID == zoneID && (keep == nil || keep(row)) {
			found = append(found, row)
		}
	}
	return inOrder[T, P](found)
}

// Of returns the rows of the zone that belong to a group, in order of creation.
// It looks at no others. Which group a row belongs to is its kind's to say: a
// dependency belongs to its application, a session to its parent.
func (t *Table[T, P]) Of(zoneID, group string) []T {
	found := []T{}
	for member := range t.groups[scoped(zoneID, group)] {
		found = append(found, t.rows[member])
	}
	return inOrder[T, P](found)
}

func inOrder[T any, P Row[T]](rows []T) []T {
	slices.SortFunc(rows, func(a, b T) int { return cmp.Compare(P(&a).base().Seq, P(&b).base().Seq) })
	return rows
}

// Insert adds the row and returns it with id, slug, times and sequence number.
// A taken key gives a *ConflictError.
func (t *Table[T, P]) Insert(row T) (T, error) {
	p := P(&row)
	m := p.base()
	if m.ID == "" {
		m.ID = NewID()
	}
	if _, taken := t.keys[scoped(m.ZoneID, p.key())]; taken && p.key() != "" {
		return row, &ConflictError{Kind: t.kind}
	}
	if _, taken := t.rows[m.ID]; taken {
		return row, &ConflictError{Kind: t.kind}
	}
	t.journal.seq++
	m.Seq = t.journal.seq
	m.Slug = slug(p.label(), m.ID)
	m.CreatedAt = t.stamp()
	m.UpdatedAt = m.CreatedAt
	t.put(row)
	t.record(m.ID, row)
	t.journal.undo = append(t.journal.undo, func() { t.drop(row) })
	return row, nil
}

// Replace stores a changed copy of an existing row and returns it with a new
// updated_at. The identity (id, zone, slug, creation) cannot change.
func (t *Table[T, P]) Replace(row T) (T, error) {
	p := P(&row)
	m := p.base()
	old, ok := t.rows[m.ID]
	if !ok {
		return row, &NotFoundError{Kind: t.kind, ID: m.ID}
	}
	*m = *P(&old).base()
	if holder, taken := t.keys[scoped(m.ZoneID, p.key())]; taken && p.key() != "" && holder != m.ID {
		return row, &ConflictError{Kind: t.kind}
	}
	m.UpdatedAt = t.stamp()
	t.drop(old)
	t.put(row)
	t.record(m.ID, row)
	t.journal.undo = append(t.journal.undo, func() { t.drop(row); t.put(old) })
	return row, nil
}

// Delete removes the row with the id in the zone, or gives a *NotFoundError.
func (t *Table[T, P]) Delete(zoneID, id string) error {
	row, err := t.Get(zoneID, id)
	if err != nil {
		return err
	}
	t.remove(row)
	return nil
}

// deleteAll removes the rows of the zone that match accepts.
func (t *Table[T, P]) deleteAll(zoneID string, match func(T) bool) {
	for _, row := range t.All(zoneID, match) {
		t.remove(row)
	}
}

func (t *Table[T, P]) remove(row T) {
	t.drop(row)
	t.record(P(&row).base().ID, nil)
	t.journal.undo = append(t.journal.undo, func() { t.put(row) })
}

func (t *Table[T, P]) put(row T) {
	p := P(&row)
	m := p.base()
	t.rows[m.ID] = row
	if p.key() != "" {
		t.keys[scoped(m.ZoneID, p.key())] = m.ID
	}
	if g, ok := any(p).(grouped); ok && g.group() != "" {
		name := scoped(m.ZoneID, g.group())
		if t.groups[name] == nil {
			t.groups[name] = map[string]bool{}
		}
		t.groups[name][m.ID] = true
	}
}

func (t *Table[T, P]) drop(row T) {
	p := P(&row)
	m := p.base()
	delete(t.rows, m.ID)
	delete(t.keys, scoped(m.ZoneID, p.key()))
	if g, ok := any(p).(grouped); ok {
		name := scoped(m.ZoneID, g.group())
		delete(t.groups[name], m.ID)
		if len(t.groups[name]) == 0 {
			delete(t.groups, name)
		}
	}
}

func (t *Table[T, P]) stamp() time.Time {
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
