// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end.
const stopTimeout = 15 * time.Second

// program is a running program of ours.
type program struct {
	name string
	cmd  *exec.Cmd
	// stopping is closed when the end of the program is wanted, ended when it has ended with err.
	stopping, ended chan struct{}
	err             error
}

// startProgram starts a program that logs to a file of its own. The run ends when it ends by itself.
func (d *demo) startProgram(name string, args ...string) error {
	log, err := os.OpenFile(d.logPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the program has its own
	p, err := start(filepath.Join(binaries, name), log, args...)
	if err != nil {
		return err
	}
	d.stops = append(d.stops, func() error { return p.stop(stopTimeout) })
	go p.reportEarlyEnd(d.cancel)
	return nil
}

// reportEarlyEnd cancels when the program ends by itself.
func (p *program) reportEarlyEnd(cancel context.CancelCauseFunc) {
	<-p.ended
	select {
	case <-p.stopping:
	default:
		cancel(fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState))
	}
}

// start starts a program. It outlives the context, so that things are stopped in order.
func start(path string, log *os.File, args ...string) (*program, error) {
	p := &program{
		name: filepath.Base(path), cmd: exec.Command(path, args...), //nolint:gosec,noctx // our own program, ended by stop
		stopping: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = groupOfItsOwn()
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

// stop ends the program, and kills it when it takes too long. It is called once.
func (p *program) stop(grace time.Duration) error {
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

// groupOfItsOwn keeps a terminal's Ctrl-C for the demo.
func groupOfItsOwn() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
