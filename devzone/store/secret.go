// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the SHA-256 of a secret. The secrets that the server makes hold
// more than 128 random bits, so a fast hash is enough: there is nothing to
// guess that a slow one would protect. A seeded secret is public in its seed.
type Digest [sha256.Size]byte

// NewID returns an opaque 26-character identifier that is also a valid DNS
// label, because a zone's id is the first label of its host name.
func NewID() string { return strings.ToLower(rand.Text()) }

// NewSecret returns a secret with 260 random bits.
func NewSecret() string { return rand.Text() + rand.Text() }

// DigestOf hashes a secret for storage.
func DigestOf(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// Matches compares in constant time.
func (d Digest) Matches(secret string) bool {
	other := DigestOf(secret)
	return subtle.ConstantTimeCompare(d[:], other[:]) == 1
}

// MarshalText writes a digest in hexadecimal, and none as nothing.
func (d Digest) MarshalText() ([]byte, error) {
	if d == (Digest{}) {
		return nil, nil
	}
	return []byte(hex.EncodeToString(d[:])), nil
}

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	*d = Digest{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("a digest must be %d bytes in hexadecimal", len(d))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("a digest must be %d bytes in hexadecimal", len(d))
	}
	return nil
}
