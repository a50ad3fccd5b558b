// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests the install of Confluence in a zone: the KeycardResource, step by step.
package install

import (
	"os"
	"testing"

	"github.com/keycardai/keycard-operator/test/integration/world"
)

func TestMain(m *testing.M) {
	os.Exit(world.Run(m))
}
