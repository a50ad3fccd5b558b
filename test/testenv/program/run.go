// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package program

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

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

// Main runs a command until it ends or anyone interrupts it, and exits when that is no success.
func Main(cmd *cobra.Command) {
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancelCause(context.Background())
	go CancelOnInterrupt(cancel)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, cmd.Name()+":", err)
	if errors.Is(err, ErrInterrupted) {
		os.Exit(ExitInterrupted)
	}
	os.Exit(1)
}

// Run is a run of the demo or the benchmark: steps, what they started, and what they print.
type Run struct {
	// Dir holds logs and generated files. It goes at the end, unless something failed.
	Dir string
	// Out is where everything is printed.
	Out io.Writer

	start time.Time
	// mu is held while a line is printed.
	mu sync.Mutex
	// cancel ends the run with a cause.
	cancel context.CancelCauseFunc
	// stops undo what was started, last first.
	stops []func() error
}

// NewRun starts a run.
func NewRun(out io.Writer) *Run { return &Run{Out: out, start: time.Now()} }

// Take takes the steps one after the other in the project's folder, from which manifests and packages are named, and undoes
// what they started. The folder of the run is made below parent. After a failure, explain shows what there is to see.
func (r *Run) Take(ctx context.Context, parent string, explain func(context.Context), steps ...func(context.Context) error) (err error) {
	root, err := assets.Root()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("entering the project: %w", err)
	}
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	defer func() { err = r.cleanUp(ctx, err, explain) }()
	if err := r.makeFolder(parent); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) makeFolder(parent string) error {
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return err
	}
	r.Dir, err = filepath.Abs(dir)
	return err
}

// cleanUp stops everything. After a failure it keeps the logs.
func (r *Run) cleanUp(ctx context.Context, err error, explain func(context.Context)) error {
	// What ended the context says more than the step that noticed.
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	failed := err != nil && !errors.Is(err, ErrInterrupted)
	if failed {
		explain(context.WithoutCancel(ctx))
	}
	r.cancel(nil)
	errs := []error{err}
	for _, stop := range slices.Backward(r.stops) {
		errs = append(errs, stop())
	}
	if failed && r.Dir != "" {
		r.Say("the logs are kept in %s", r.Dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(r.Dir))...)
}

// Later has stop called at the end, before what was given earlier.
func (r *Run) Later(stop func() error) { r.stops = append(r.stops, stop) }

// Watch stops a program at the end, and ends the run when the program ends by itself.
func (r *Run) Watch(p *Program) {
	r.Later(func() error { return p.Stop(StopTimeout) })
	go p.ReportEarlyEnd(r.End)
}

// End ends the run with a cause.
func (r *Run) End(cause error) { r.cancel(cause) }

// Elapsed is the time since the start.
func (r *Run) Elapsed() time.Duration { return time.Since(r.start) }

// LogPath is where a program of this run logs to.
func (r *Run) LogPath(name string) string { return filepath.Join(r.Dir, name+".log") }

// ShowLog prints the end of a program's log, if there is one.
func (r *Run) ShowLog(name string) {
	if end := Tail(r.LogPath(name), 15); end != "" {
		r.Print("\nThe end of %s:\n%s\n", r.LogPath(name), end)
	}
}

// Say prints a line with the seconds since the start.
func (r *Run) Say(format string, args ...any) {
	r.Print("%6.1fs  %s\n", r.Elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// Print prints as it is.
func (r *Run) Print(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.Out, format, args...)
}
