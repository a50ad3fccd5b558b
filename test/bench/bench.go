// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// runs is where each run has a folder, from the project's folder.
var runs = filepath.Join(".cache", "bench")

// operatorUser is the operator's ServiceAccount.
const operatorUser = "system:serviceaccount:keycard-system:keycard-operator"

// bench is one run.
type bench struct {
	options
	*program.Run

	cluster *testenv.ControlPlane
	// admin is the administrator's client, without limits.
	admin client.Client
	// lasting issues tokens of an hour, fleeting those that rotate.
	lasting, fleeting *zone
	// limits are the operator's defaults.
	limits   limits
	operator *program.Operator
	requests *requestLog
	outputs  *outputs

	figures figures
	// coldRequests are the requests of the cold start, and coldTime is how long it took.
	coldRequests counts
	coldTime     time.Duration
	// emptyRSS and fullRSS are the operator's memory without bindings and with all of them.
	emptyRSS, fullRSS int64
}

func run(ctx context.Context, out io.Writer, o options) error {
	b := &bench{options: o, Run: program.NewRun(out)}
	err := b.Take(ctx, runs, func(context.Context) { b.ShowLog("operator") },
		b.prepare, b.startCluster, b.startZones, b.install,
		b.coldStart, b.restart, b.relabel, b.reapply, b.memory, b.bareClient, b.rotate,
		func(context.Context) error { return b.figures.broken() })
	b.figures.writeTo(out) // after a failure those there are
	return err
}

// prepare builds the operator and reads its defaults.
func (b *bench) prepare(ctx context.Context) (err error) {
	b.Say("building the operator")
	if err := program.Build(ctx, b.Out, b.Dir, ".", "./cmd/operator"); err != nil {
		return err
	}
	b.limits, err = readLimits(ctx, b.operatorPath())
	return err
}

// startCluster starts the API server, which writes down what the operator asks, and installs what is shipped.
func (b *bench) startCluster(ctx context.Context) (err error) {
	b.Say("starting etcd and kube-apiserver")
	if b.cluster, err = testenv.Start(testenv.Options{Log: b.Dir, AuditUser: operatorUser}); err != nil {
		return err
	}
	b.Later(b.cluster.Stop)
	b.requests = &requestLog{path: b.cluster.AuditLog()}
	if b.admin, err = newClient(b.cluster.Config, nil); err != nil {
		return err
	}
	if err := program.ApplyShipped(ctx, b.cluster); err != nil {
		return err
	}
	b.outputs, err = b.watchOutputs(ctx)
	return err
}

func (b *bench) operatorPath() string { return filepath.Join(b.Dir, "operator") }
