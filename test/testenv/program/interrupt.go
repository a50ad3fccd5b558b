// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ExitInterrupted is what a shell reports for a program that Ctrl-C ended.
const ExitInterrupted = 130

// ErrInterrupted is the cause of the context's end when somebody wants the program to stop.
var ErrInterrupted = errors.New("interrupted")

// CancelOnInterrupt cancels on a signal, and when whoever started this program is gone: `go run` does not pass SIGTERM on.
// A second signal ends this program at once, without cleaning up. SIGPIPE is that of a reader that has seen enough, such
// as head.
func CancelOnInterrupt(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	parent := os.Getppid()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-signals:
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			cancel(ErrInterrupted)
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				cancel(ErrInterrupted)
				return
			}
		}
	}
}
