// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"time"

	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// demo is one run.
type demo struct {
	options
	*program.Run

	cluster *testenv.ControlPlane
	zone    zone
	// metricsURL, consentURL and operatorToken are the operator's.
	metricsURL, consentURL, operatorToken string
	shown                                 *progress
	readyAfter                            time.Duration
	reader                                *reader
	workload                              workload
}

func run(ctx context.Context, out io.Writer, o options) error {
	d := &demo{options: o, Run: program.NewRun(out)}
	steps := []func(context.Context) error{
		d.build, d.startCluster, d.startZone, d.startOperator, d.applySamples, d.consume,
		d.applyWorkload, d.consent, d.readAsWorkload, d.searchForSecrets, d.summarize,
	}
	if o.keep {
		steps = append(steps, d.leaveRunning)
	}
	return d.Take(ctx, binaries, d.explain, steps...)
}

// explain shows the objects' conditions and the ends of the logs.
func (d *demo) explain(ctx context.Context) {
	const conditions = `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}` +
		`{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{"\n"}{end}{end}`
	if d.cluster != nil {
		out, err := d.cluster.Kubectl(ctx, "get", "keycardresources,confluencetokenbindings", "-A", "-o", conditions)
		if err == nil {
			d.Print("\n%s", out)
		}
	}
	d.ShowLog("operator")
	d.ShowLog("devzone")
	d.Print("\n")
}

// summarize prints the figures.
func (d *demo) summarize(context.Context) error {
	r := d.reader
	d.Print(`
  Ready after the apply   %s
  Ready after consent     within %s; it was given %s
  rotations               %d, of tokens that live %s
  requests                %d
  failures                %d
  least life of a token   %s when it was replaced
  the whole demo          %s

`, seconds(d.readyAfter), d.workload.readyWithin, d.workload.how, r.rotations(), d.tokenLifetime, r.requests, r.failures, seconds(r.leastLeft), seconds(d.Elapsed()))
	return nil
}

// seconds rounds for people.
func seconds(t time.Duration) time.Duration { return t.Round(100 * time.Millisecond) }
