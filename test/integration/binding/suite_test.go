// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package binding tests the tokens of a binding, step by step: whose they are, when they are refreshed, what the Secret has, who is
// restarted.
package binding

import (
	"os"
	"testing"

	"github.com/keycardai/keycard-operator/test/integration/world"
)

func TestMain(m *testing.M) {
	os.Exit(world.Run(m))
}
