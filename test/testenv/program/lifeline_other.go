// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package program

import "syscall"

// endWithUs needs Linux: elsewhere programs outlive a starter that is killed.
func endWithUs(*syscall.SysProcAttr) {}
