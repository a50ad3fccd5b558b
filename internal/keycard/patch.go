// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/json"
	"reflect"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Field is one member of a PATCH body: absent (the zero value: keep what is there), null (clear it), or
// a value. Give the struct field the json option omitzero.
type Field[T any] struct {
	value T
	state fieldState
}

type fieldState int

const (
	absent fieldState = iota
	null
	present
)

// Set makes a Field that replaces the present value.
func Set[T any](value T) Field[T] { return Field[T]{value: value, state: present} }

// Null makes a Field that clears the present value, where the API allows it.
func Null[T any]() Field[T] { return Field[T]{state: null} }

// IsZero reports whether the field is absent.
func (f Field[T]) IsZero() bool { return f.state == absent }

// MarshalJSON encodes null or the value.
func (f Field[T]) MarshalJSON() ([]byte, error) {
	if f.state != present {
		return []byte("null"), nil
	}
	return json.Marshal(f.value)
}

// setUnlessEmpty makes a Field for a create request, where the empty string means that nothing is asked for.
func setUnlessEmpty(value string) Field[string] {
	if value == "" {
		return Field[string]{}
	}
	return Set(value)
}

// reveal makes the Field that goes on the wire.
func reveal(f Field[redacted.String]) Field[string] {
	return Field[string]{value: f.value.Reveal(), state: f.state}
}

func isZero(patch any) bool { return reflect.ValueOf(patch).IsZero() }
