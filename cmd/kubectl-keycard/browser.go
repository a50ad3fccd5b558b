// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
)

// openBrowser opens a link in the person's browser.
func openBrowser(ctx context.Context, link string) error {
	command := browserCommand(runtime.GOOS, os.Getenv("BROWSER"), link)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...) // #nosec G204 -- the person's own program, and a link of our own
	if err := cmd.Start(); err != nil {
		return err
	}
	// It may live as long as the browser does; nobody waits for what it says.
	go func() { _ = cmd.Wait() }()
	return nil
}

// browserCommand is how a link is opened: by the program that the person chose, or as the system does it.
func browserCommand(system, chosen, link string) []string {
	switch {
	case chosen != "":
		return []string{chosen, link}
	case system == "darwin":
		return []string{"open", link}
	case system == "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler", link}
	}
	return []string{"xdg-open", link}
}
