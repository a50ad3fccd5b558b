// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// policyKind is one of the four kinds of objects of which sets are made. They
// are made, read, changed and archived, and never deleted.
type policyKind[T any, P store.Row[T]] struct {
	name  string
	table func(tx *store.Tx) *store.Table[T, P]
	// state is who owns a row and when it was archived.
	state func(T) (owner string, archived *time.Time)
	view  func(tx *store.Tx, row T) (any, error)
	// find is how the path names a row.
	find func(tx *store.Tx, r *http.Request) (T, error)
}

// add stores a new row.
func (k policyKind[T, P]) add(s *server, row T) (out any, err error) {
	err = s.Store.Do(func(tx *store.Tx) error {
		if row, err = k.table(tx).Insert(row); err != nil {
			return err
		}
		out, err = k.view(tx, row)
		return err
	})
	return out, err
}

// get answers GET on one row.
func (k policyKind[T, P]) get(s *server, r *http.Request) (out any, err error) {
	err = s.Store.View(func(tx *store.Tx) error {
		row, err := k.find(tx, r)
		if err != nil {
			return err
		}
		out, err = k.view(tx, row)
		return err
	})
	return out, err
}

// change applies a change to a row of the customer's that is not archived.
func (k policyKind[T, P]) change(s *server, r *http.Request, change func(tx *store.Tx, row *T) error) (out any, err error) {
	err = s.Store.Do(func(tx *store.Tx) error {
		row, err := k.find(tx, r)
		if err != nil {
			return err
		}
		owner, archived := k.state(row)
		if err := changeable(k.name, owner, archived); err != nil {
			return err
		}
		seen, err := k.view(tx, row)
		if err != nil {
			return err
		}
		if t, ok := seen.(tagged); ok {
			err = matches(r, t.tag())
		}
		if err == nil {
			err = change(tx, &row)
		}
		if err != nil {
			return err
		}
		if row, err = k.table(tx).Replace(row); err != nil {
			return err
		}
		out, err = k.view(tx, row)
		return err
	})
	return out, err
}

// list answers a list of rows, the newest first when descending.
func (k policyKind[T, P]) list(s *server, r *http.Request, descending bool, rows func(tx *store.Tx) ([]T, error)) (any, error) {
	return listOf(s, r, false, func(tx *store.Tx) ([]item, error) {
		found, err := rows(tx)
		if err != nil {
			return nil, err
		}
		items := make([]item, 0, len(found))
		for _, row := range found {
			view, err := k.view(tx, row)
			if err != nil {
				return nil, err
			}
			items = append(items, item{seq: P(&row).Sequence(), view: view})
		}
		return ordered(items, descending), nil
	})
}
