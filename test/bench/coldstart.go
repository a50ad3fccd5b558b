// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// coldStart measures how long an operator takes that starts and finds bindings none of which has a token.
func (b *bench) coldStart(ctx context.Context) error {
	b.Say("cold start: making %d bindings", b.bindings)
	if err := b.makeBindings(ctx, namespace); err != nil {
		return err
	}
	if _, err := b.requests.take(); err != nil {
		return err
	}
	b.lasting.take()
	b.outputs.reset()
	b.Say("cold start: starting the operator")
	start := time.Now()
	if err := b.startOperator(ctx, b.lasting); err != nil {
		return err
	}
	last, err := b.awaitTokens(ctx, 1, b.patience())
	if err != nil {
		return err
	}
	if err := b.settle(ctx, b.bindings); err != nil {
		return err
	}
	exchanges := b.lasting.take()
	if b.coldRequests, err = b.requests.take(); err != nil {
		return err
	}
	cpu, err := cpuTime(b.operator.PID())
	if err != nil {
		return err
	}
	b.coldTime = last.Sub(start)
	b.figures.add("cold start: from the start of the program until all Secrets exist", "%.1f s, %.1f s of it until the first", b.coldTime.Seconds(), b.outputs.first.Sub(start).Seconds())
	b.figures.add("cold start: exchanges", "%d, at most %d in a second", len(exchanges), peak(exchanges))
	b.figures.add("cold start: API requests per binding", "%s", b.coldRequests.per(b.bindings))
	b.figures.add("cold start: CPU of the operator", "%.1f s", cpu.Seconds())
	return b.stopOperator()
}
