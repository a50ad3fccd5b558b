// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// lifeline is a script that ends a program together with the thread that started it: a test binary that is
// killed, or that panics because its time is over, stops nothing itself. envtest starts its programs without
// a way to say so, hence a script in their place.
const lifeline = "#!/bin/sh\nexec %s --pdeathsig KILL -- %s \"$@\"\n"

// program gives the path to start in place of a binary. Where there is no setpriv (it is Linux's), that is
// the binary itself.
func (c *ControlPlane) program(name string) (string, error) {
	binary := filepath.Join(c.assets, name)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return binary, nil //nolint:nilerr // a lifeline is worth having, not needed
	}
	path := filepath.Join(c.Dir, name)
	script := fmt.Sprintf(lifeline, quoted(setpriv), quoted(binary))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { // #nosec G306 -- it is a program
		return "", fmt.Errorf("writing the script that starts %s: %w", name, err)
	}
	return path, nil
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// onOneThread runs a function on a thread that lives until release is called: the kernel would end the
// programs with the thread that started them, and Go ends threads.
func (c *ControlPlane) onOneThread(f func() error) error {
	if c.thread == nil {
		c.thread = make(chan func())
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for f := range c.thread {
				f()
			}
		}()
	}
	result := make(chan error)
	c.thread <- func() { result <- f() }
	return <-result
}

// release lets the thread go.
func (c *ControlPlane) release() {
	if c.thread != nil {
		close(c.thread)
		c.thread = nil
	}
}
