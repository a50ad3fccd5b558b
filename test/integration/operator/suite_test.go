// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator tests the whole operator: watches, restarts, crashes, options, its cache of Secrets, two replicas.
package operator

import (
	"os"
	"testing"

	"github.com/keycardai/keycard-operator/test/integration/world"
)

func TestMain(m *testing.M) {
	os.Exit(world.Run(m))
}
