// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command operator runs the Keycard operator: the controllers of KeycardResource and ConfluenceTokenBinding.
package main

import (
	"fmt"
	"os"

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
			ctrl.SetLogger(zap.New(zap.Level(zapcore.Level(-o.verbosity)))) //#nosec G115 -- checked to be small
			return run(ctrl.SetupSignalHandler(), o)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
