// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/store"
)

var dataKey = bytes.Repeat([]byte{1}, disk.KeySize)

type tester interface {
	Helper()
	Fatal(args ...any)
}

func openStore(t tester, dir string) (*store.Store, *disk.DB) {
	t.Helper()
	db, err := disk.Open(dir, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(func() time.Time { return at }, db)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func closeDB(t tester, db *disk.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents is all of what two of the tables hold, and the log.
func contents(t tester, s *store.Store) string {
	t.Helper()
	var out struct {
		Zones     []store.Zone
		Providers []store.Provider
		Events    []string
	}
	err := s.View(func(tx *store.Tx) error {
		out.Zones = tx.Zones.All("", nil)
		for _, z := range []string{"a", "b"} {
			out.Providers = append(out.Providers, tx.Providers.All(z, nil)...)
		}
		return nil
	})
	for _, z := range []string{"a", "b"} {
		err = errors.Join(err, s.Events(z, 0, func(seq uint64, body []byte) bool {
			out.Events = append(out.Events, fmt.Sprint(seq, string(body)))
			return true
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Any run of changes, some of them undone, is there again when the folder is
// opened anew; sequence numbers go on.
func TestReopenedStoreIsTheSame(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir := filepath.Join(base, store.NewID())
		s, db := openStore(t, dir)
		memory := store.New(func() time.Time { return at })
		boom := errors.New("boom")
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			zone := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")
			name := rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "name")
			op := rapid.SampledFrom([]string{"put", "delete", "delete all", "event", "undone"}).Draw(t, "op")
			for _, each := range []*store.Store{s, memory} {
				_ = each.Do(func(tx *store.Tx) error { return change(tx, op, zone, name, boom) })
			}
		}
		want := contents(t, s)
		closeDB(t, db)
		again, db := openStore(t, dir)
		defer closeDB(t, db)
		if got := contents(t, again); got != want {
			t.Fatalf("reopened:\n%s\nbefore:\n%s", got, want)
		}
		for _, each := range []*store.Store{again, memory} {
			_ = each.Do(func(tx *store.Tx) error { return change(tx, "event", "a", "last", nil) })
		}
		if got, want := contents(t, again), contents(t, memory); got != want {
			t.Fatalf("on disk:\n%s\nin memory:\n%s", got, want)
		}
	})
}

func change(tx *store.Tx, op, zone, name string, boom error) error {
	row := provider(zone, name)
	row.ID = zone + name
	old, found := tx.Providers.Find(zone, name)
	switch {
	case op == "event":
		tx.Append(zone, fmt.Appendf(nil, "%q", name))
	case op == "delete all":
		if _, err := tx.Zones.Get("", zone); err != nil {
			_, err = tx.Zones.Insert(store.Zone{Meta: store.Meta{ID: zone}, Name: zone})
			return err
		}
		return tx.DeleteZone(zone)
	case op == "delete":
		return tx.Providers.Delete(zone, row.ID)
	case found:
		old.Name += "."
		if _, err := tx.Providers.Replace(old); err != nil {
			return err
		}
	default:
		if _, err := tx.Providers.Insert(row); err != nil {
			return err
		}
	}
	if op == "undone" {
		tx.Append(zone, []byte(`"undone"`))
		return boom
	}
	return nil
}

// Every field of every row survives: none is hidden from the encoder.
func TestRowsAreEncodedWhole(t *testing.T) {
	tables := reflect.TypeFor[store.Tx]()
	for i := range tables.NumField() {
		field := tables.Field(i)
		if !field.IsExported() {
			continue
		}
		t.Run(field.Name, func(t *testing.T) {
			// The row is what Get returns.
			get, ok := field.Type.MethodByName("Get")
			if !ok {
				t.Fatalf("%s has no Get", field.Type)
			}
			row := reflect.New(get.Type.Out(0))
			fill(t, row.Elem())
			raw, err := json.Marshal(row.Elem().Interface())
			if err != nil {
				t.Fatal(err)
			}
			back := reflect.New(row.Type().Elem())
			if err := json.Unmarshal(raw, back.Interface()); err != nil {
				t.Fatal(err)
			}
			NewWithT(t).Expect(back.Interface()).To(Equal(row.Interface()))
		})
	}
}

// fill sets every field to something else than its zero value.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(at.UTC().Truncate(time.Millisecond)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				t.Fatalf("%s.%s is not exported", v.Type(), v.Type().Field(i).Name)
			}
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("a row has a %s", v.Type())
	}
}
