// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo runs the operator's main job end to end on this machine: a real Kubernetes control plane, a
// zone, the operator with its shipped permissions, two manifests, and a consumer that keeps reading
// Confluence pages while the token is rotated under it. See "go run ./hack/demo --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keycardai/keycard-operator/internal/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctrl.SetLogger(logr.Discard())
	err := command().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything was stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// options are the demo's flags.
type options struct {
	keep          bool
	tokenLifetime time.Duration
	rotations     int
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job end to end: two manifests, and a Confluence token that stays fresh",
		Long: `demo builds what is missing (Kubernetes takes about 7 minutes, once), starts a control plane, a zone
and the operator on loopback, applies config/samples, and reads Confluence pages with the token from the
Secret while it is rotated. It stops everything it started, also on Ctrl-C.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.rotations < 1 || o.tokenLifetime < 20*time.Second {
				return errors.New("--rotations has to be at least 1, --token-lifetime at least 20s")
			}
			return run(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().BoolVar(&o.keep, "keep", false, "leave everything running until Ctrl-C, and say what to try next")
	cmd.Flags().DurationVar(&o.tokenLifetime, "token-lifetime", 30*time.Second, "how long the zone's tokens live")
	cmd.Flags().IntVar(&o.rotations, "rotations", 2, "how many rotations to wait for")
	return cmd
}

// demo is one run.
type demo struct {
	options
	out   io.Writer
	start time.Time
	// dir holds logs and generated files, and goes when all went well.
	dir     string
	cluster *testenv.ControlPlane
	zone    zone
	// tokens are those the consumer saw.
	tokens []string
	// stops undo what was started, last first.
	stops []func() error
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	if err := build(ctx, out); err != nil {
		return err
	}
	d := &demo{options: o, out: out, start: time.Now()}
	if d.dir, err = os.MkdirTemp("", "keycard-demo-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = d.cleanUp(ctx, err) }()
	for _, step := range []func(context.Context) error{d.startCluster, d.startZone, d.startOperator, d.applySamples, d.consume, d.searchLogs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if d.keep {
		d.leaveRunning(ctx)
	}
	return nil
}

// cleanUp stops everything. After a failure it shows what there is to see, and keeps the logs.
func (d *demo) cleanUp(ctx context.Context, err error) error {
	failed := err != nil && ctx.Err() == nil
	if failed {
		d.explain(context.WithoutCancel(ctx))
	}
	d.say("stopping")
	var errs []error
	for _, stop := range slices.Backward(d.stops) {
		errs = append(errs, stop())
	}
	if failed {
		d.say("logs are in %s", d.dir)
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, err, os.RemoveAll(d.dir))...)
}

// say prints a line with the seconds since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// leaveRunning waits for Ctrl-C.
func (d *demo) leaveRunning(ctx context.Context) {
	kubeconfig, err := d.cluster.WriteKubeconfig("admin", d.cluster.Config)
	if err != nil {
		d.say("writing a kubeconfig: %v", err)
		return
	}
	fmt.Fprintf(d.out, `
Everything is left running until Ctrl-C. In another terminal:

  export KUBECONFIG=%s
  alias kubectl=%s

  kubectl get keycardresources,confluencetokenbindings -A -o wide
  kubectl -n reports describe confluencetokenbinding reports
  kubectl -n reports get secret confluence-token -o jsonpath='{.data.token\.json}' | base64 -d

Bob may be impersonated but has not consented: see what a binding for him says.

  kubectl -n reports get ctb reports -o json | sed 's/"reports"/"bob"/;s/alice@/bob@/;s/confluence-token/bob-token/' \
    | kubectl -n reports create -f - ; kubectl -n reports get ctb bob -o wide

Zone: %s  management API: %s  Atlassian: %s  logs: %s
`, kubeconfig, d.cluster.KubectlPath(), d.zone.issuer, d.zone.api, d.zone.atlassian, d.dir)
	<-ctx.Done()
}
