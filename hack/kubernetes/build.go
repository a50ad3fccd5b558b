// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

const (
	// heartbeat is the longest silence.
	heartbeat = 20 * time.Second
	// grace is how long an interrupted go command may take to end its compilers.
	grace = 10 * time.Second
	// tempPattern names unfinished binaries.
	tempPattern = ".building-*"
)

// builder builds what is missing in a folder.
type builder struct {
	root, dir string
	binaries  []binary
	out       io.Writer
}

// job is a binary to be built in a version.
type job struct {
	binary
	version string
}

func (b *builder) build(ctx context.Context) error {
	jobs, err := b.jobs()
	if err != nil || len(jobs) == 0 {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o750); err != nil {
		return fmt.Errorf("making the folder of the binaries: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(b.dir, ".lock"), b.out)
	if err != nil {
		return err
	}
	defer unlock()
	// Another run may have built them while this one waited.
	if jobs, err = b.jobs(); err != nil || len(jobs) == 0 {
		return err
	}
	fmt.Fprintf(b.out, "%d of %d binaries are to be built in %s.\n", len(jobs), len(b.binaries), b.dir)
	fmt.Fprintln(b.out, "A cold build takes about 7 minutes on 2 cores, downloads apart. The next run finds the binaries.")
	start := time.Now()
	for i, j := range jobs {
		label := fmt.Sprintf("[%d/%d] %s %s", i+1, len(jobs), j.name, j.version)
		if err := withHeartbeat(b.out, label, func() error { return b.one(ctx, j) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "built %d binaries in %s\n", len(jobs), elapsed(start))
	return nil
}

// jobs gives what is not there in the pinned version, and says so when that is nothing.
func (b *builder) jobs() ([]job, error) {
	var jobs []job
	for _, bin := range b.binaries {
		version, err := assets.Version(b.root, bin.pin, bin.module)
		if err != nil {
			return nil, err
		}
		if !bin.current(filepath.Join(b.dir, bin.name), version) {
			jobs = append(jobs, job{bin, version})
		}
	}
	if len(jobs) == 0 {
		fmt.Fprintf(b.out, "all %d binaries are in %s\n", len(b.binaries), b.dir)
	}
	return jobs, nil
}

// one builds a binary under a temporary name: an interrupted build leaves no half binary.
func (b *builder) one(ctx context.Context, j job) error {
	if err := removeUnfinished(b.dir); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(b.dir, tempPattern)
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	output := filepath.Join(temp, j.name)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", j.buildArgs(b.root, j.version, output)...) // #nosec G204 -- fixed arguments
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("building %s: interrupted; the binaries before it are kept", j.name)
		}
		return fmt.Errorf("building %s: %w\n%s", j.name, err, tail(log.Bytes(), 20))
	}
	if err := os.Rename(output, filepath.Join(b.dir, j.name)); err != nil {
		return fmt.Errorf("moving %s to its place: %w", j.name, err)
	}
	return nil
}

// removeUnfinished removes what killed runs left. The lock is held: no other run is at work.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, tempPattern))
	errs := []error{err}
	for _, path := range left {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing unfinished builds: %w", err)
	}
	return nil
}

// withHeartbeat runs f and prints that it begins, that it goes on, and how long it took.
func withHeartbeat(out io.Writer, label string, f func() error) error {
	start := time.Now()
	fmt.Fprintf(out, "%s ...\n", label)
	done := make(chan error, 1)
	go func() { done <- f() }()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err == nil {
				fmt.Fprintf(out, "%s ... done in %s\n", label, elapsed(start))
			}
			return err
		case <-ticker.C:
			fmt.Fprintf(out, "%s ... %s\n", label, elapsed(start))
		}
	}
}

func elapsed(start time.Time) string {
	return fmt.Sprintf("%ds", int(time.Since(start).Seconds()))
}

// tail gives the last lines of a log, where the go command says what went wrong.
func tail(log []byte, lines int) []byte {
	log = bytes.TrimRight(log, "\n")
	for i, l := range slices.Backward(log) {
		if l != '\n' {
			continue
		}
		if lines--; lines == 0 {
			return log[i+1:]
		}
	}
	return log
}
