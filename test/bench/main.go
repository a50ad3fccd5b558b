// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures the operator on this machine: a real Kubernetes control plane, zones, and the operator as a process
// of its own with shipped defaults and shipped permissions. See "go run -C test ./bench --help".
package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

func main() { program.Main(command()) }

// options are the benchmark's flags.
type options struct {
	bindings, unrelated, rotations int
	tokenLifetime                  time.Duration
}

// leastLifetime leaves a token some life when the next one comes.
const leastLifetime = 3 * refresh.MinInterval

// validate names the flag whose value makes no sense.
func (o *options) validate() error {
	if o.bindings < 1 || o.rotations < 1 || o.unrelated < 0 {
		return fmt.Errorf("--bindings is %d, --rotations %d and --unrelated %d; the first two have to be at least 1, the last 0",
			o.bindings, o.rotations, o.unrelated)
	}
	if o.tokenLifetime == 0 {
		// Two minutes, and for many bindings so long that some 40 exchanges a second do.
		o.tokenLifetime = max(2*time.Minute, time.Duration(o.bindings)*50*time.Millisecond).Round(time.Second)
	}
	if o.tokenLifetime < leastLifetime {
		return fmt.Errorf("--token-lifetime is %s; it has to be at least %s", o.tokenLifetime, leastLifetime)
	}
	return nil
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the operator: cold start, rotations, restarts and memory",
		Long: `bench starts etcd, kube-apiserver, two zones and the operator on loopback, and prints what the operator costs as a
table in Markdown. Times depend on the machine and on what else it does; counts do not.

Exit codes: 0 all went well, 1 something failed or an invariant is broken (a token expired; an exchange on a restart, on
labels or on a repeated apply; more than two writes per rotation), 130 interrupted.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().IntVarP(&o.bindings, "bindings", "n", 1000, "how many bindings")
	cmd.Flags().IntVar(&o.unrelated, "unrelated", 10_000, "how many Secrets that have nothing to do with the operator")
	cmd.Flags().IntVar(&o.rotations, "rotations", 2, "how often each token is rotated while that is measured")
	cmd.Flags().DurationVar(&o.tokenLifetime, "token-lifetime", 0, "how long tokens live while rotations are measured; 0 means 2m, and longer for many bindings")
	return cmd
}
