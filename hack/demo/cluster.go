// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/keycardai/keycard-operator/internal/testenv"
)

// binaries is where the demo builds the operator and devzone.
var binaries = filepath.Join(".cache", "demo")

// build makes what is missing. Go's build cache makes it quick after the first time.
func build(ctx context.Context, out io.Writer) error {
	for _, args := range [][]string{
		{"run", "./hack/kubernetes"},
		{"build", "-o", binaries + string(filepath.Separator), "./cmd/operator", "./cmd/devzone"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- constant
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("running go %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

func (d *demo) startCluster(ctx context.Context) error {
	d.say("starting etcd, kube-apiserver and kube-controller-manager")
	cluster, err := testenv.Start(testenv.Options{ControllerManager: true, Log: d.dir})
	if err != nil {
		return err
	}
	d.cluster = cluster
	d.stops = append(d.stops, cluster.Stop)
	d.say("applying the kinds and the operator's permissions: kubectl apply -k config/crd, config/rbac")
	for _, args := range [][]string{
		{"apply", "-k", "config/crd"},
		{"wait", "--for=condition=Established", "--timeout=30s", "crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud"},
		{"apply", "-k", "config/rbac"},
	} {
		if _, err := d.cluster.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// stopTimeout is how long a program may take to end.
const stopTimeout = 30 * time.Second

// startProgram starts a program of ours; its log goes to a file, what it prints to stdout.
func (d *demo) startProgram(name string, stdout io.Writer, args ...string) error {
	log, err := os.OpenFile(d.logPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	// It outlives the context, so that cleanUp stops things in order.
	cmd := exec.Command(filepath.Join(binaries, name), args...) //nolint:gosec,noctx // our own program, stopped by cleanUp
	cmd.Stderr = log
	cmd.Stdout = log
	if stdout != nil {
		cmd.Stdout = stdout
	}
	// A group of its own keeps Ctrl-C for the demo.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.stops = append(d.stops, func() error {
		defer func() { _ = log.Close() }()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("%s ended with %w", name, err)
			}
			return nil
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			return fmt.Errorf("%s did not end within %s and was killed", name, stopTimeout)
		}
	})
	return nil
}

func (d *demo) logPath(name string) string { return filepath.Join(d.dir, name+".log") }

// explain shows the objects and the end of the logs.
func (d *demo) explain(ctx context.Context) {
	if d.cluster == nil {
		return
	}
	out, err := d.cluster.Kubectl(ctx, "get", "keycardresources,confluencetokenbindings", "-A", "-o", "wide")
	fmt.Fprintln(d.out, out)
	if err != nil {
		d.say("%v", err)
	}
	for _, name := range []string{"operator", "devzone"} {
		raw, err := os.ReadFile(d.logPath(name))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		fmt.Fprintf(d.out, "--- the end of %s's log\n%s\n", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
