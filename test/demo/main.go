// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo runs the operator's main job end to end on this machine: a real Kubernetes control plane, a
// zone, the operator with its shipped permissions, two manifests, and a consumer that keeps reading
// Confluence pages while the token is rotated under it; then a workload without a stored secret, for a person who consents
// in a browser. See "go run -C test ./demo --help".
package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

func main() { program.Main(command()) }

// options are the demo's flags.
type options struct {
	keep          bool
	tokenLifetime time.Duration
	rotations     int
}

// minLifetime leaves a token some life when the next one comes: the operator makes no two exchanges within
// refresh.MinInterval.
const minLifetime = refresh.MinInterval + 5*time.Second

// validate names the flag whose value makes no sense.
func (o *options) validate() error {
	if o.rotations < 1 {
		return fmt.Errorf("--rotations is %d; it has to be at least 1", o.rotations)
	}
	if o.tokenLifetime < minLifetime {
		return fmt.Errorf("--token-lifetime is %s; it has to be at least %s, because the operator leaves %s between two exchanges",
			o.tokenLifetime, minLifetime, refresh.MinInterval)
	}
	return nil
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job end to end: two manifests, and a Confluence token that stays fresh",
		Long: `demo builds what is missing (Kubernetes takes about 7 minutes, once), starts a control plane, a zone
and the operator on loopback, applies config/samples, and reads Confluence pages with the token from the
Secret while it is rotated. Then a ServiceAccount acts for a person: she consents on the operator's page, in
Chromium if there is one (chromium on the PATH, or what the environment variable CHROMIUM names), otherwise by a
plain HTTP client that sends the same forms. It stops everything it started, also on Ctrl-C.

Exit codes: 0 all went well, 1 something failed (the logs are kept), 130 interrupted.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().BoolVar(&o.keep, "keep", false, "leave everything running until Ctrl-C, and say what to try next")
	cmd.Flags().DurationVar(&o.tokenLifetime, "token-lifetime", 30*time.Second, "how long the zone's tokens live")
	cmd.Flags().IntVar(&o.rotations, "rotations", 2, "how many rotations to wait for")
	return cmd
}
