// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// limits are what bounds the operator's requests to the API server.
type limits struct {
	qps                float32
	burst, concurrency int
}

// readLimits reads the defaults from the program's own help.
func readLimits(ctx context.Context, operator string) (limits, error) {
	help, err := exec.CommandContext(ctx, operator, "--help").Output() // #nosec G204 -- our own program
	if err != nil {
		return limits{}, fmt.Errorf("reading the operator's defaults: %w", err)
	}
	var values [3]float64
	for i, flag := range []string{"client-qps", "client-burst", "concurrency"} {
		found := regexp.MustCompile(`--` + flag + ` .*\(default (\S+)\)`).FindSubmatch(help)
		if found == nil {
			return limits{}, fmt.Errorf("the operator's help does not say what --%s is by default", flag)
		}
		if values[i], err = strconv.ParseFloat(string(found[1]), 32); err != nil {
			return limits{}, fmt.Errorf("reading the default of --%s: %w", flag, err)
		}
	}
	return limits{qps: float32(values[0]), burst: int(values[1]), concurrency: int(values[2])}, nil
}

// startOperator starts it for tokens of a zone.
func (b *bench) startOperator(ctx context.Context, z *zone) error {
	o, err := program.StartOperator(ctx, b.cluster, b.operatorPath(), b.LogPath("operator"), z.AtlassianURL)
	if err != nil {
		return err
	}
	b.operator = o
	go o.ReportEarlyEnd(b.End)
	return o.AwaitReady(ctx)
}

func (b *bench) stopOperator() error {
	o := b.operator
	if o == nil {
		return nil
	}
	b.operator = nil
	return o.Stop(program.StopTimeout)
}

// quiet is how long nothing may have happened for all to be done.
const quiet = 3 * time.Second

// settle waits until the operator has looked at so many bindings since its start, and then has nothing to do.
func (b *bench) settle(ctx context.Context, looks int) error {
	last, since := -1, time.Now()
	err := program.Until(ctx, b.patience(), func(ctx context.Context) (bool, error) {
		metrics, err := program.Get(ctx, b.operator.MetricsURL)
		if err != nil {
			return false, nil //nolint:nilerr // it is busy
		}
		done, active := sum(metrics, "controller_runtime_reconcile_total"), sum(metrics, "controller_runtime_active_workers")
		if done != last || active > 0 {
			last, since = done, time.Now()
		}
		return last >= looks && time.Since(since) >= quiet, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the operator has nothing to do (%d reconciles): %w", last, err)
	}
	return nil
}

// patience is how long bindings may take that are all made at once.
func (b *bench) patience() time.Duration {
	return 2*time.Minute + time.Duration(b.bindings)*200*time.Millisecond
}

// sum adds up a metric of the bindings' controller, over all other labels.
func sum(metrics, name string) int {
	total := 0.0
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") || !strings.Contains(line, `controller="confluencetokenbinding"`) {
			continue
		}
		fields := strings.Fields(line)
		if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			total += v
		}
	}
	return int(total)
}
