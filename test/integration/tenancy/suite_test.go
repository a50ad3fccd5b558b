// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tenancy tests that tenants neither use nor slow down what is not theirs.
package tenancy

import (
	"os"
	"testing"

	"github.com/keycardai/keycard-operator/test/integration/world"
)

func TestMain(m *testing.M) {
	os.Exit(world.Run(m))
}
