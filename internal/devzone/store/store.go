// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"sync"
	"time"
)

// Store holds every object of the server in memory. It is safe for concurrent
// use.
type Store struct {
	mu sync.Mutex
	tx Tx
}

// Tx gives a function run by Store.Do access to the tables. It must not be
// kept after that function returns.
type Tx struct {
	Zones           *Table[Zone, *Zone]
	Providers       *Table[Provider, *Provider]
	Resources       *Table[Resource, *Resource]
	Applications    *Table[Application, *Application]
	Credentials     *Table[Credential, *Credential]
	Dependencies    *Table[Dependency, *Dependency]
	Grants          *Table[Grant, *Grant]
	Users           *Table[User, *User]
	ServiceAccounts *Table[ServiceAccount, *ServiceAccount]

	journal *journal
}

// journal remembers how to undo the changes of the running transaction and
// stamps new rows.
type journal struct {
	undo []func()
	now  func() time.Time
	seq  uint64
}

// New returns an empty store. The clock gives created_at and updated_at.
func New(clock func() time.Time) *Store {
	j := &journal{now: clock}
	return &Store{tx: Tx{
		Zones:           newTable[Zone]("zone", j),
		Providers:       newTable[Provider]("provider", j),
		Resources:       newTable[Resource]("resource", j),
		Applications:    newTable[Application]("application", j),
		Credentials:     newTable[Credential]("application credential", j),
		Dependencies:    newTable[Dependency]("dependency", j),
		Grants:          newTable[Grant]("delegated grant", j),
		Users:           newTable[User]("user", j),
		ServiceAccounts: newTable[ServiceAccount]("service account", j),
		journal:         j,
	}}
}

// Do runs f with exclusive access to the tables. When f returns an error or
// panics, everything it changed is undone. f must not do I/O and must not call
// Do again.
func (s *Store) Do(f func(tx *Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := false
	defer func() {
		if !done {
			s.tx.journal.rollback()
		}
	}()
	if err := f(&s.tx); err != nil {
		return err
	}
	done = true
	s.tx.journal.undo = nil
	return nil
}

func (j *journal) rollback() {
	for _, v := range slices.Backward(j.undo) {
		v()
	}
	j.undo = nil
}
