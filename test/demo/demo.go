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
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// demo is one run.
type demo struct {
	options
	start time.Time

	mu  sync.Mutex
	out io.Writer

	// cancel ends the run with a cause.
	cancel context.CancelCauseFunc
	// dir holds logs and generated files. It goes at the end, unless something failed.
	dir     string
	cluster *testenv.ControlPlane
	zone    zone
	// metricsURL, consentURL and operatorToken are the operator's.
	metricsURL, consentURL, operatorToken string
	shown                                 *progress
	readyAfter                            time.Duration
	reader                                *reader
	workload                              workload

	// stops undo what was started, last first.
	stops []func() error
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	// The manifests and the packages to build are named from the project's folder.
	root, err := assets.Root()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("entering the project: %w", err)
	}
	d := &demo{options: o, out: out, start: time.Now()}
	ctx, d.cancel = context.WithCancelCause(ctx)
	defer d.cancel(nil)
	defer func() { err = d.cleanUp(ctx, err) }()
	for _, step := range []func(context.Context) error{
		d.build, d.makeFolder, d.startCluster, d.startZone, d.startOperator, d.applySamples, d.consume,
		d.applyWorkload, d.consent, d.readAsWorkload, d.searchForSecrets, d.summarize,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if o.keep {
		return d.leaveRunning(ctx)
	}
	return nil
}

func (d *demo) makeFolder(context.Context) (err error) {
	if d.dir, err = os.MkdirTemp(binaries, "run-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	return nil
}

// cleanUp stops everything. After a failure it shows what there is to see, and keeps the logs.
func (d *demo) cleanUp(ctx context.Context, err error) error {
	// What ended the context says more than the step that noticed.
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	failed := err != nil && !errors.Is(err, program.ErrInterrupted)
	if failed {
		d.explain(context.WithoutCancel(ctx))
	}
	d.cancel(nil)
	if len(d.stops) > 0 {
		d.say("stopping")
	}
	errs := []error{err}
	for _, stop := range slices.Backward(d.stops) {
		errs = append(errs, stop())
	}
	if failed && d.dir != "" {
		d.say("the logs are kept in %s", d.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// explain shows the objects' conditions and the ends of the logs.
func (d *demo) explain(ctx context.Context) {
	const conditions = `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}` +
		`{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{"\n"}{end}{end}`
	if d.cluster != nil {
		out, err := d.cluster.Kubectl(ctx, "get", "keycardresources,confluencetokenbindings", "-A", "-o", conditions)
		if err == nil {
			d.print("\n%s", out)
		}
	}
	for _, name := range []string{"operator", "devzone"} {
		if end := program.Tail(d.logPath(name), 15); end != "" {
			d.print("\nThe end of %s:\n%s\n", d.logPath(name), end)
		}
	}
	d.print("\n")
}

func (d *demo) logPath(name string) string { return filepath.Join(d.dir, name+".log") }

// say prints a line with the seconds since the start.
func (d *demo) say(format string, args ...any) {
	d.print("%6.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) print(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

// summarize prints the figures.
func (d *demo) summarize(context.Context) error {
	r := d.reader
	d.print(`
  Ready after the apply   %s
  Ready after consent     within %s; it was given %s
  rotations               %d, of tokens that live %s
  requests                %d
  failures                %d
  least life of a token   %s when it was replaced
  the whole demo          %s

`, seconds(d.readyAfter), d.workload.readyWithin, d.workload.how, r.rotations(), d.tokenLifetime, r.requests, r.failures, seconds(r.leastLeft), seconds(time.Since(d.start)))
	return nil
}

// seconds rounds for people.
func seconds(t time.Duration) time.Duration { return t.Round(100 * time.Millisecond) }
