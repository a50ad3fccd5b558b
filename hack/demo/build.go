// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// binaries is where the demo builds the operator and devzone, from the project's folder.
var binaries = filepath.Join(".cache", "demo")

// build makes what is missing. Go's build cache makes it quick after the first time.
func (d *demo) build(ctx context.Context) error {
	d.say("building what is missing: Kubernetes, the operator, devzone")
	if err := os.MkdirAll(binaries, 0o750); err != nil {
		return fmt.Errorf("making the folder of the binaries: %w", err)
	}
	for _, args := range [][]string{
		{"run", "./hack/kubernetes"},
		{"build", "-o", binaries + string(filepath.Separator), "./cmd/operator", "./cmd/devzone"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- constant
		cmd.Stdout, cmd.Stderr = d.out, d.out
		// The go command does not pass signals on to what it runs, so the whole group gets them.
		cmd.SysProcAttr = groupOfItsOwn()
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.WaitDelay = stopTimeout
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("running go %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}
