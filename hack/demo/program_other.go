// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// endWithUs needs Linux: elsewhere a demo that is killed leaves its programs behind.
func endWithUs(*syscall.SysProcAttr) {}
