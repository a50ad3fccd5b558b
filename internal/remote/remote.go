// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"

	"github.com/go-logr/logr"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Kind is a kind of object in a zone: O as the zone has it, C the body to create it, P to patch it.
type Kind[O, C any, P Patch] struct {
	// Name is what messages call such an object.
	Name   string
	Find   func(m *keycard.ManagementClient, ctx context.Context, zoneID, identifier string) (O, bool, error)
	Create func(m *keycard.ManagementClient, ctx context.Context, zoneID string, body C) (O, error)
	Patch  func(m *keycard.ManagementClient, ctx context.Context, zoneID, id string, body P) (O, error)
	Delete func(m *keycard.ManagementClient, ctx context.Context, zoneID, id string) error
	// About returns an object's id and its description, where the marker is.
	About func(O) (id, description string)
}

// Patch is a change that may be empty.
type Patch interface{ IsZero() bool }

// Want says how one object of a zone has to be.
type Want[O, C any, P Patch] struct {
	// Step is the condition that the object belongs to, and Object what its drift is called.
	Step, Object string
	// Identifier finds the object, and Marker says that it is ours.
	Identifier string
	Marker     Marker
	// Known is a value that status only has when the object was there once. One that has to be made
	// in spite of that was deleted by someone else.
	Known string
	// Body makes the object.
	Body C
	// Created is called when the object was made; it may be nil.
	Created func(O)
	// Claim decides about an object without the marker: manage it, use it as it is, or fail.
	Claim func(O) (manage bool, err error)
	// Differs returns what has to change, and the fields that drifted; nil compares nothing.
	Differs func(O) (P, []string)
}

// Standing says what an object is to us.
type Standing int

// The standings.
const (
	// Absent means that the zone has no such object.
	Absent Standing = iota
	// Foreign means that the object is someone else's. It is not changed.
	Foreign
	// Managed means that the object has the marker, or was adopted.
	Managed
	// Created means that the object was made just now.
	Created
)

// Ensure makes sure that a zone has one object as it is wanted. The object is looked for before it
// is made, so a request whose answer was lost makes no second one. Where the zone is only observed,
// differences are noted and nothing is sent. An object that was found is returned also with an
// error.
func Ensure[O, C any, P Patch](ctx context.Context, z *Zone, k Kind[O, C, P], w Want[O, C, P]) (O, Standing, error) {
	have, standing, err := Find(ctx, z, k, w.Identifier, w.Marker)
	if err != nil {
		return have, standing, err
	}
	switch standing {
	case Absent:
		if have, err = create(ctx, z, k, w); err != nil {
			return have, Absent, err
		}
		standing = Created
	case Foreign:
		manage, err := w.Claim(have)
		if err != nil || !manage {
			return have, Foreign, err
		}
		standing = Managed
	}
	if w.Differs == nil {
		return have, standing, nil
	}
	body, fields := w.Differs(have)
	if body.IsZero() {
		return have, standing, nil
	}
	return have, standing, z.Change(w.Step, w.Object, fields, func() error {
		id, _ := k.About(have)
		logr.FromContextOrDiscard(ctx).Info("changing the "+k.Name, "id", id, "identifier", w.Identifier, "fields", fields)
		_, err := k.Patch(z.ManagementClient, ctx, z.ID, id, body)
		return err
	})
}

// Find looks an object up, and says whether it has the marker.
func Find[O, C any, P Patch](ctx context.Context, z *Zone, k Kind[O, C, P], identifier string, m Marker) (O, Standing, error) {
	have, found, err := k.Find(z.ManagementClient, ctx, z.ID, identifier)
	if err != nil || !found {
		return have, Absent, err
	}
	if _, description := k.About(have); m.In(description) {
		return have, Managed, nil
	}
	return have, Foreign, nil
}

func create[O, C any, P Patch](ctx context.Context, z *Zone, k Kind[O, C, P], w Want[O, C, P]) (made O, err error) {
	if z.Observing {
		return made, problem.NotRegistered(k.Name, w.Identifier)
	}
	logr.FromContextOrDiscard(ctx).Info("creating the "+k.Name, "identifier", w.Identifier)
	if made, err = k.Create(z.ManagementClient, ctx, z.ID, w.Body); err != nil {
		return made, CreateProblem(err, k.Name)
	}
	if w.Known != "" {
		z.Note(w.Step, w.Object, deleted)
	}
	if w.Created != nil {
		w.Created(made)
	}
	return made, nil
}

// CreateProblem judges a failed request to make something of the named kind. One that appeared
// since it was looked for is found by the next attempt.
func CreateProblem(err error, kind string) error {
	if keycard.IsConflict(err) {
		return problem.ObjectJustMade(kind)
	}
	return err
}

// Delete removes an object that has the marker; any other stays.
func Delete[O, C any, P Patch](ctx context.Context, z *Zone, k Kind[O, C, P], have O, m Marker) error {
	id, description := k.About(have)
	if !m.In(description) {
		return nil
	}
	logr.FromContextOrDiscard(ctx).Info("deleting the "+k.Name, "id", id)
	return k.Delete(z.ManagementClient, ctx, z.ID, id)
}
