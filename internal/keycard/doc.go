// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keycard talks to Keycard: the management API of the organisation, and the OAuth authorization
// server of one zone. It speaks HTTP, validates what comes back, and says of every failure which Class
// it is, so that a caller decides about retries without reading messages. It keeps no log and no state
// beyond two caches in memory: the management token and the zone's metadata.
//
// Start with NewPool. Every error that a client returns is an *Error.
package keycard
