// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package must ends a test at an error that it does not expect.
package must

import "testing"

// Succeed ends the test when there is an error.
func Succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
