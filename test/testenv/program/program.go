// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package program runs the project's own programs as processes of their own, for the demo and the benchmark: with what is
// shipped and nothing else, and gone when whoever started them is.
package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// StopTimeout is how long a program may take to end.
const StopTimeout = 15 * time.Second

// Program is a running program of ours.
type Program struct {
	name string
	cmd  *exec.Cmd
	// stopping is closed when the end of the program is wanted, ended when it has ended with err.
	stopping, ended chan struct{}
	err             error
}

// Start starts a program that appends what it prints to a log. It outlives every context, so that things are stopped in
// order.
func Start(path, log string, args ...string) (*Program, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- the caller's own folder
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", filepath.Base(path), err)
	}
	defer func() { _ = out.Close() }() // the program has its own
	p := &Program{
		name: filepath.Base(path), cmd: exec.Command(path, args...), //nolint:gosec,noctx // our own program, ended by Stop
		stopping: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = GroupOfItsOwn()
	endWithUs(p.cmd.SysProcAttr)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is the number of the process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// ReportEarlyEnd waits for the end of the program, and cancels when it ended by itself.
func (p *Program) ReportEarlyEnd(cancel context.CancelCauseFunc) {
	<-p.ended
	select {
	case <-p.stopping:
	default:
		cancel(fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState))
	}
}

// Stop ends the program, and kills it when it takes longer than grace. It is called once.
func (p *Program) Stop(grace time.Duration) error {
	select {
	case <-p.ended:
		return nil // that has been reported
	default:
	}
	close(p.stopping)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("%s ended with %w", p.name, p.err)
		}
		return nil
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %s and was killed", p.name, grace)
	}
}

// GroupOfItsOwn keeps a terminal's Ctrl-C from a program, for the one that started it.
func GroupOfItsOwn() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Tail gives the last lines of a file, or nothing when there is none.
func Tail(path string, n int) string {
	raw, err := os.ReadFile(path) // #nosec G304 -- a log of the caller's own
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
