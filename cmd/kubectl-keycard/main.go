// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-keycard is a plugin of kubectl for what people do about the Keycard operator's objects.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 3
	exitNotReady    = 4
	exitInterrupted = 130
)

var (
	errUsage = errors.New("see kubectl keycard consent --help")
	// errRefused says that the person, or the zone in her place, said no.
	errRefused = errors.New("consent was not given")
	// errNotReady says that she consented, and the binding has no token all the same.
	errNotReady = errors.New("is not Ready")
)

func main() {
	ctrl.SetLogger(logr.Discard()) // what there is to say is said to the person
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubectl keycard:", err)
		os.Exit(exitCode(err))
	}
}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kubectl-keycard",
		Short:         "Work with the objects of the Keycard operator",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl keycard"},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	cmd.AddCommand(newConsentCommand())
	return cmd
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.Is(err, errNotReady):
		return exitNotReady
	}
	return exitFailure
}
