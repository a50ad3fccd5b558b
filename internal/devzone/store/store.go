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
	// events is the log of a store in memory. It only grows at the end and is
	// cut at the front, so that a reader can keep a slice of it.
	events []event
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
	Sessions        *Table[Session, *Session]
	Codes           *Table[Code, *Code]
	UserAgents      *Table[UserAgent, *UserAgent]
	SigningKeys     *Table[SigningKey, *SigningKey]

	journal *journal
}

// journal remembers how to undo the changes of the running transaction and
// stamps new rows.
type journal struct {
	undo   []func()
	events []event
	now    func() time.Time
	seq    uint64
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
		Sessions:        newTable[Session]("session", j),
		Codes:           newTable[Code]("authorization code", j),
		UserAgents:      newTable[UserAgent]("user agent", j),
		SigningKeys:     newTable[SigningKey]("signing key", j),
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
	s.commit()
	return nil
}

// View runs f like Do, for functions that change nothing. It is the cheaper
// one: it does not wait for the disk.
func (s *Store) View(f func(tx *Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(&s.tx)
}

// commit makes the changes of the running transaction final.
func (s *Store) commit() {
	j := s.tx.journal
	s.events = append(s.events, j.events...)
	if extra := len(s.events) - maxMemoryEvents; extra > 0 {
		s.events = s.events[extra:]
	}
	j.undo, j.events = nil, nil
}

func (j *journal) rollback() {
	for _, v := range slices.Backward(j.undo) {
		v()
	}
	j.undo, j.events = nil, nil
}
