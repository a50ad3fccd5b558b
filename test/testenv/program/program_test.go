// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// startShell starts a script that prints a line once it is ready to be stopped.
func startShell(t *testing.T, script string) *Program {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start("/bin/sh", log, "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() string { return Tail(log, 1) }).Should(Equal("ready"))
	return p
}

func TestProgramIsStopped(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"in order": {"trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", ""},
		"failing":  {"trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", "exit status 3"},
		"stubborn": {"trap '' TERM; echo ready; while :; do sleep 0.05; done", "was killed"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := startShell(t, tt.script)
			err := p.Stop(500 * time.Millisecond)
			if tt.want == "" {
				g.Expect(err).NotTo(HaveOccurred())
			} else {
				g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			}
			g.Expect(p.ended).To(BeClosed())
		})
	}
}

func TestProgramEndsByItself(t *testing.T) {
	g := NewWithT(t)
	p := startShell(t, "echo ready; exit 4")
	ctx, cancel := context.WithCancelCause(t.Context())
	p.ReportEarlyEnd(cancel)
	g.Expect(context.Cause(ctx)).To(MatchError("sh ended by itself: exit status 4"))
	g.Expect(p.Stop(time.Second)).To(Succeed(), "it is not reported twice")
}

// A wanted end is not reported.
func TestProgramThatIsStoppedIsNoFailure(t *testing.T) {
	g := NewWithT(t)
	p := startShell(t, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
	ctx, cancel := context.WithCancelCause(t.Context())
	reported := make(chan struct{})
	go func() {
		p.ReportEarlyEnd(cancel)
		close(reported)
	}()
	g.Expect(p.Stop(5 * time.Second)).To(Succeed())
	<-reported
	g.Expect(context.Cause(ctx)).NotTo(HaveOccurred())
}

// What ended the run is reported rather than the step that noticed; the folder stays after a failure only.
func TestRunCleansUp(t *testing.T) {
	crashed, noticed := errors.New("operator ended by itself"), errors.New("waiting: context canceled")
	for name, tt := range map[string]struct {
		cause, err, want error
		kept             bool
	}{
		"done":           {},
		"kept and ended": {cause: ErrInterrupted},
		"failed":         {err: noticed, want: noticed, kept: true},
		"crashed":        {cause: crashed, err: noticed, want: crashed, kept: true},
		"interrupted":    {cause: ErrInterrupted, err: noticed, want: ErrInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			var out bytes.Buffer
			var stopped []int
			explained := false
			r := &Run{Out: &out, cancel: cancel, Dir: t.TempDir(), stops: []func() error{
				func() error { stopped = append(stopped, 1); return nil },
				func() error { stopped = append(stopped, 2); return nil },
			}}
			if tt.cause != nil {
				cancel(tt.cause)
			}
			err := r.cleanUp(ctx, tt.err, func(context.Context) { explained = true })
			if tt.want == nil {
				g.Expect(err).NotTo(HaveOccurred())
			} else {
				g.Expect(err).To(MatchError(tt.want))
			}
			g.Expect(stopped).To(Equal([]int{2, 1}))
			g.Expect(explained).To(Equal(tt.kept))
			if tt.kept {
				g.Expect(r.Dir).To(BeADirectory())
				g.Expect(out.String()).To(ContainSubstring(r.Dir))
			} else {
				g.Expect(r.Dir).NotTo(BeADirectory())
			}
		})
	}
}
