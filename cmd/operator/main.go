// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command operator runs the Keycard operator: the controllers of KeycardResource and ConfluenceTokenBinding.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

// gcPercent is how much the heap may grow, in percent of what is in use, before it is collected. Most of it is caches that
// stay, and the program is idle most of the time: memory is dearer than the collections. GOGC overrides it.
const gcPercent = 50

func command() *cobra.Command {
	o := defaultOptions()
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Keep short-lived Confluence tokens fresh in Secrets, by token exchange at a Keycard zone",
		Long: `operator runs the controllers of two kinds:

  KeycardResource         registers an upstream's OAuth app and its API in a Keycard zone
  ConfluenceTokenBinding  exchanges tokens at the zone and keeps a Confluence token fresh in a Secret

It finds the cluster by --kubeconfig, $KUBECONFIG, or the pod it runs in.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE: func(*cobra.Command, []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			ctrl.SetLogger(zap.New(zap.Level(zapcore.Level(-o.verbosity)))) //#nosec G115 -- checked to be small
			return run(ctrl.SetupSignalHandler(), o)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
