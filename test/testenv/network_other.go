// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package testenv

import "errors"

// InsideEnv is of Linux.
const InsideEnv = "KEYCARD_TESTENV_INSIDE"

// InOwnNetwork needs Linux. Elsewhere there are no pods, and so nothing that wants a network.
func InOwnNetwork(_ func() error, run func() int) int { return run() }

// InNetworkOf needs Linux.
func InNetworkOf(int, func() error) error { return errors.New("network namespaces are Linux's") }
