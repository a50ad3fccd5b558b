// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remote ensures objects of a zone: it finds each by its identifier, knows its own by a
// marker in the description, compares, creates, changes and deletes them, and notes what someone
// else changed.
package remote

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// lockPatience is how long an install waits for others of its zone, before it says so.
const lockPatience = time.Minute

// Zones are the zones that this process works in. The zero value is ready for use.
type Zones struct{ turns keyedMutex }

// Zone is one look at a zone. It is the only way to a change there, and keeps what differed.
type Zone struct {
	// ManagementClient is nil until the zone was entered.
	*keycard.ManagementClient
	ID string
	// Observing is true when nothing may be changed.
	Observing bool
	// CreatedAt is when the zone was made; the zero time when that is not known.
	CreatedAt time.Time

	turns *keyedMutex
	key   string
	drift []Drift
}

// Look begins a look at a zone. Zones are told apart by the management API too: what another
// install names there may hang, and the id says nothing of it.
func (z *Zones) Look(apiURL, id string, observing bool) *Zone {
	return &Zone{ID: id, Observing: observing, turns: &z.turns, key: strings.ToLower(apiURL) + " " + id}
}

// Enter says with which client the zone is reached.
func (z *Zone) Enter(m *keycard.ManagementClient) {
	if z.Observing {
		m = m.ReadOnly()
	}
	z.ManagementClient = m
}

// Lock waits until no one else changes what several installs share in the zone.
func (z *Zone) Lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if unlock, err = z.turns.lock(ctx, z.key); err != nil {
		return nil, problem.ZoneBusy()
	}
	return unlock, nil
}

// Drift is one object of the zone that was not as it is wanted.
type Drift struct {
	// Step is the condition that the object belongs to.
	Step string
	// Object is what it is, and Fields what differed: names of fields, or that it was deleted.
	Object string
	Fields []string
}

func (d Drift) String() string { return d.Object + ": " + strings.Join(d.Fields, ", ") }

// deleted stands in the place of fields for an object that was there once.
const deleted = "deleted"

// Drift returns what differed in the steps; in all of them when none is named.
func (z *Zone) Drift(steps ...string) []Drift {
	return slices.DeleteFunc(slices.Clone(z.drift), func(d Drift) bool { return len(steps) > 0 && !slices.Contains(steps, d.Step) })
}

// Note keeps what differed. Without fields it is a part of something that is being made.
func (z *Zone) Note(step, object string, fields ...string) {
	if len(fields) > 0 {
		z.drift = append(z.drift, Drift{Step: step, Object: object, Fields: fields})
	}
}

// Change makes a change, unless the zone is only observed, and notes the fields that differed.
func (z *Zone) Change(step, object string, fields []string, do func() error) error {
	if !z.Observing {
		if err := do(); err != nil {
			return err
		}
	}
	z.Note(step, object, fields...)
	return nil
}
