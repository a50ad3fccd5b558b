// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// runs is where each run has a folder, from the project's folder.
var runs = filepath.Join(".cache", "bench")

// operatorUser is the operator's ServiceAccount.
const operatorUser = "system:serviceaccount:keycard-system:keycard-operator"

// bench is one run.
type bench struct {
	options
	start time.Time
	out   io.Writer

	// cancel ends the run with a cause.
	cancel context.CancelCauseFunc
	// dir holds the operator's program and the logs. It goes at the end, unless something failed.
	dir     string
	cluster *testenv.ControlPlane
	// admin is the administrator's client, without limits.
	admin client.Client
	// lasting issues tokens of an hour, fleeting those that rotate.
	lasting, fleeting *zone
	// limits are the operator's defaults.
	limits   limits
	operator *program.Operator
	requests *requestLog
	outputs  *outputs

	figures figures
	// coldRequests are the requests of the cold start, and coldTime is how long it took.
	coldRequests counts
	coldTime     time.Duration
	// emptyRSS and fullRSS are the operator's memory without bindings and with all of them.
	emptyRSS, fullRSS int64

	// stops undo what was started, last first.
	stops []func() error
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	root, err := assets.Root()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil { // manifests and packages are named from there
		return fmt.Errorf("entering the project: %w", err)
	}
	b := &bench{options: o, out: out, start: time.Now()}
	ctx, b.cancel = context.WithCancelCause(ctx)
	defer b.cancel(nil)
	defer func() { err = b.cleanUp(ctx, err) }()
	for _, step := range []func(context.Context) error{
		b.prepare, b.startCluster, b.startZones, b.install,
		b.coldStart, b.restart, b.relabel, b.reapply, b.memory, b.bareClient, b.rotate,
	} {
		if err := step(ctx); err != nil {
			b.figures.writeTo(b.out) // those there are
			return err
		}
	}
	b.figures.writeTo(b.out)
	return b.figures.broken()
}

// prepare builds the operator and reads its defaults.
func (b *bench) prepare(ctx context.Context) (err error) {
	if err := os.MkdirAll(runs, 0o750); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if b.dir, err = os.MkdirTemp(runs, "run-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	b.say("building the operator")
	if err := program.Build(ctx, b.out, b.dir, ".", "./cmd/operator"); err != nil {
		return err
	}
	b.limits, err = readLimits(ctx, b.operatorPath())
	return err
}

// startCluster starts the API server, which writes down what the operator asks, and installs what is shipped.
func (b *bench) startCluster(ctx context.Context) (err error) {
	b.say("starting etcd and kube-apiserver")
	if b.cluster, err = testenv.Start(testenv.Options{Log: b.dir, AuditUser: operatorUser}); err != nil {
		return err
	}
	b.stops = append(b.stops, b.cluster.Stop)
	b.requests = &requestLog{path: b.cluster.AuditLog()}
	if b.admin, err = newClient(b.cluster.Config, nil); err != nil {
		return err
	}
	if err := program.ApplyShipped(ctx, b.cluster); err != nil {
		return err
	}
	b.outputs, err = b.watchOutputs(ctx)
	return err
}

// cleanUp stops everything. After a failure it shows the end of the operator's log, and keeps the logs.
func (b *bench) cleanUp(ctx context.Context, err error) error {
	// What ended the context says more than the step that noticed.
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	failed := err != nil && !errors.Is(err, program.ErrInterrupted)
	if failed && b.dir != "" {
		fmt.Fprintf(b.out, "\nThe end of %s:\n%s\n\n", b.logPath(), program.Tail(b.logPath(), 15))
	}
	errs := []error{err, b.stopOperator()}
	b.cancel(nil)
	for _, stop := range slices.Backward(b.stops) {
		errs = append(errs, stop())
	}
	if failed && b.dir != "" {
		b.say("the logs are kept in %s", b.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

func (b *bench) operatorPath() string { return filepath.Join(b.dir, "operator") }

func (b *bench) logPath() string { return filepath.Join(b.dir, "operator.log") }

// say prints a line with the seconds since the start.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "%6.1fs  %s\n", time.Since(b.start).Seconds(), fmt.Sprintf(format, args...))
}
