// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/devzone/disk"
)

// Store holds every object of the server in memory, and on disk when it was
// opened with Open. It is safe for concurrent use.
type Store struct {
	mu sync.RWMutex
	tx Tx
	// db is nil for a store in memory.
	db *disk.DB
	// events is the log of a store in memory. It only grows at the end and is
	// cut at the front, so that a reader can keep a slice of it.
	events []event
}

// Tx gives a function run by Store.Do access to the tables. It must not be
// kept after that function returns.
type Tx struct {
	Zones              *Table[Zone]
	Providers          *Table[Provider]
	Resources          *Table[Resource]
	Applications       *Table[Application]
	Credentials        *Table[Credential]
	Dependencies       *Table[Dependency]
	Grants             *Table[Grant]
	Users              *Table[User]
	ServiceAccounts    *Table[ServiceAccount]
	APITokens          *Table[APIToken]
	Sessions           *Table[Session]
	Codes              *Table[Code]
	UserAgents         *Table[UserAgent]
	SigningKeys        *Table[SigningKey]
	Policies           *Table[Policy]
	PolicyVersions     *Table[PolicyVersion]
	PolicySets         *Table[PolicySet]
	PolicySetVersions  *Table[PolicySetVersion]
	Interactions       *Table[Interaction]
	Approvals          *Table[Approval]
	Organizations      *Table[Organization]
	AccountCredentials *Table[AccountCredential]
	Members            *Table[Member]
	Secrets            *Table[Secret]
	Origins            *Table[Origin]

	journal *journal
}

// journal remembers what the running transaction changes and how to undo it,
// and stamps new rows.
type journal struct {
	undo    []func()
	changes []disk.Change
	events  []event
	now     func() time.Time
	seq     uint64
	tables  []table
}

// table is what can be done with all tables alike.
type table interface {
	// load puts the rows that the disk has into the table.
	load(db *disk.DB) error
	// clear removes the rows of the zone.
	clear(zoneID string)
}

// Where the sequence number is kept.
const (
	sequenceBucket = "sequence"
	sequenceKey    = "last"
)

// New returns an empty store. The clock gives created_at and updated_at.
func New(clock func() time.Time) *Store {
	j := &journal{now: clock}
	return &Store{tx: Tx{
		Zones:              newTable[Zone]("zone", j),
		Providers:          newTable[Provider]("provider", j),
		Resources:          newTable[Resource]("resource", j),
		Applications:       newTable[Application]("application", j),
		Credentials:        newTable[Credential]("application credential", j),
		Dependencies:       newTable[Dependency]("dependency", j),
		Grants:             newTable[Grant]("delegated grant", j),
		Users:              newTable[User]("user", j),
		ServiceAccounts:    newTable[ServiceAccount]("service account", j),
		APITokens:          newTable[APIToken]("service account token", j),
		Sessions:           newTable[Session]("session", j),
		Codes:              newTable[Code]("authorization code", j),
		UserAgents:         newTable[UserAgent]("user agent", j),
		SigningKeys:        newTable[SigningKey]("signing key", j),
		Policies:           newTable[Policy]("policy", j),
		PolicyVersions:     newTable[PolicyVersion]("policy version", j),
		PolicySets:         newTable[PolicySet]("policy set", j),
		PolicySetVersions:  newTable[PolicySetVersion]("policy set version", j),
		Interactions:       newTable[Interaction]("interaction", j),
		Approvals:          newTable[Approval]("approval", j),
		Organizations:      newTable[Organization]("organization", j),
		AccountCredentials: newTable[AccountCredential]("service account credential", j),
		Members:            newTable[Member]("member", j),
		Secrets:            newTable[Secret]("secret", j),
		Origins:            newTable[Origin]("origin", j),
		journal:            j,
	}}
}

// Open returns the store that the folder holds, which is empty when the folder
// is fresh. The caller closes the folder after the last use of the store.
func Open(clock func() time.Time, db *disk.DB) (*Store, error) {
	s := New(clock)
	for _, t := range s.tx.journal.tables {
		if err := t.load(db); err != nil {
			return nil, fmt.Errorf("loading the state: %w", err)
		}
	}
	err := db.Each(sequenceBucket, func(_ string, value []byte) error {
		return json.Unmarshal(value, &s.tx.journal.seq)
	})
	if err != nil {
		return nil, fmt.Errorf("loading the state: %w", err)
	}
	s.db = db
	return s, nil
}

// Do runs f with exclusive access to the tables. When f returns an error or
// panics, everything it changed is undone. f must not do I/O and must not call
// Do again.
//
// When Do returns nil, what f changed and what it saw is on the disk, if there
// is one. An error of the disk is returned; nothing is accepted after it.
func (s *Store) Do(f func(tx *Tx) error) error {
	round, err := s.run(f)
	if err == nil && round != nil {
		err = round.Wait()
	}
	return err
}

func (s *Store) run(f func(tx *Tx) error) (*disk.Round, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done, seq := false, s.tx.journal.seq
	defer func() {
		if !done {
			s.tx.journal.rollback()
			s.tx.journal.seq = seq
		}
	}()
	if err := f(&s.tx); err != nil {
		return nil, err
	}
	done = true
	return s.commit(), nil
}

// View runs f like Do, for functions that change nothing. Several run at a time,
// and none waits for the disk.
func (s *Store) View(f func(tx *Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return f(&s.tx)
}

// commit makes the changes of the running transaction final and starts to write
// them. The caller holds the lock, so that they are written in their order.
func (s *Store) commit() *disk.Round {
	j := s.tx.journal
	changes, events := j.changes, j.events
	j.undo, j.changes, j.events = nil, nil, nil
	if s.db == nil {
		s.remember(events)
		return nil
	}
	for _, e := range events {
		changes = append(changes, e.change())
	}
	if len(changes) > 0 {
		changes = append(changes, disk.Change{Bucket: sequenceBucket, Key: sequenceKey, Value: j.seq})
	}
	return s.db.Commit(changes)
}

func (j *journal) rollback() {
	for _, v := range slices.Backward(j.undo) {
		v()
	}
	j.undo, j.changes, j.events = nil, nil, nil
}
