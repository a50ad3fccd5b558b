// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consent tests how people consent and sign in, and what becomes of their sessions.
package consent

import (
	"os"
	"testing"

	"github.com/keycardai/keycard-operator/test/integration/world"
)

func TestMain(m *testing.M) {
	os.Exit(world.Run(m))
}
