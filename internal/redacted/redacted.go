// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package redacted has a string type for tokens and secrets that no printer, logger or encoder shows.
// The only way to the value is Reveal, which makes every use of a secret easy to find.
package redacted

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Placeholder is what every rendering of a String looks like, the empty String included.
const Placeholder = "[redacted]"

// String is a token or secret. The zero value is the empty secret. It encodes to JSON as the
// placeholder and decodes from JSON to the value, so that a response can be decoded straight into it;
// whatever sends a secret has to Reveal it first.
//
// The value is behind a pointer because fmt does not call methods on the fields it cannot export: as a
// private field of another struct, a String prints as an address, not as its text. Because == would
// compare those addresses, it does not compile; use Equal.
type String struct {
	_ [0]func()
	v *string
}

// New wraps a secret.
func New(secret string) String {
	if secret == "" {
		return String{}
	}
	return String{v: &secret}
}

// Reveal returns the secret.
func (s String) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero reports whether the secret is empty. encoding/json calls it for omitzero.
func (s String) IsZero() bool { return s.v == nil || *s.v == "" }

// Equal compares two secrets in a time that depends on their lengths only.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns the placeholder.
func (String) String() string { return Placeholder }

// GoString returns the placeholder.
func (String) GoString() string { return Placeholder }

// Format writes the placeholder whatever the verb and flags.
func (String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Placeholder) }

// LogValue returns the placeholder to log/slog.
func (String) LogValue() slog.Value { return slog.StringValue(Placeholder) }

// MarshalText returns the placeholder; YAML, XML and map keys use it.
func (String) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }

// MarshalJSON returns the placeholder as a JSON string.
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + Placeholder + `"`), nil }

// UnmarshalJSON sets the value from a JSON string; null leaves it empty. The error for anything else
// does not quote the input.
func (s *String) UnmarshalJSON(data []byte) error {
	var v *string
	if err := json.Unmarshal(data, &v); err != nil {
		return errors.New("a secret value is not a JSON string")
	}
	*s = String{}
	if v != nil {
		*s = New(*v)
	}
	return nil
}
