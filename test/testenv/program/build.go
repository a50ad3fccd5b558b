// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Build makes programs of a module, such as ./cmd/operator, in a folder; it is called in the project's folder. Go's build
// cache makes it quick after the first time.
func Build(ctx context.Context, out io.Writer, folder, module string, packages ...string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return fmt.Errorf("finding the folder of the binaries: %w", err)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("making the folder of the binaries: %w", err)
	}
	return Go(ctx, out, append([]string{"-C", module, "build", "-o", folder + string(filepath.Separator)}, packages...)...)
}

// Go runs the go command. Programs are built as they are released: static, and without the paths of this machine.
func Go(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- the callers' are constant
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath "+os.Getenv("GOFLAGS"))
	// The go command does not pass signals on to what it runs, so the whole group gets them.
	cmd.SysProcAttr = GroupOfItsOwn()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = StopTimeout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
