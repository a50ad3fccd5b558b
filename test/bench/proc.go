// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticksPerSecond is the unit of /proc: Linux has 100 on every architecture.
const ticksPerSecond = 100

// cpuTime is how long a process has computed.
func cpuTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the operator's CPU time: %w", err)
	}
	// The name before the last parenthesis may have spaces; utime and stime are the 12th and 13th fields after it.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the operator's CPU time: %q", raw)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the operator's CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// The memory of a process: what it holds now, and the most since its start.
const now, most = "VmRSS", "VmHWM"

// residentBytes reads one of them.
func residentBytes(pid int, what string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the operator's memory: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(string(line), what+": %d kB", &kilobytes); n == 1 {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("reading the operator's memory: no %s", what)
}
