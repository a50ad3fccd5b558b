// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// rotate measures the operator at work: tokens that live short, each rotated several times.
func (b *bench) rotate(ctx context.Context) error {
	b.Say("rotations: all bindings move to the zone whose tokens live %s", b.tokenLifetime)
	if err := b.moveAll(ctx); err != nil {
		return err
	}
	b.outputs.reset()
	if err := b.startOperator(ctx, b.fleeting); err != nil {
		return err
	}
	if _, err := b.awaitTokens(ctx, 1, b.patience()); err != nil {
		return err
	}
	b.Say("rotations: measuring %d for each", b.rotations)
	began, err := b.beginRotations()
	if err != nil {
		return err
	}
	if _, err := b.awaitTokens(ctx, b.rotations, time.Duration(b.rotations+1)*b.tokenLifetime+b.patience()); err != nil {
		return err
	}
	if err := b.reportRotations(began); err != nil {
		return err
	}
	return b.stopOperator()
}

// rotations are the state when the measurement began.
type rotations struct {
	at  time.Time
	cpu time.Duration
}

func (b *bench) beginRotations() (r rotations, err error) {
	if _, err := b.requests.take(); err != nil {
		return r, err
	}
	b.fleeting.take()
	b.outputs.reset()
	r.at = time.Now()
	r.cpu, err = cpuTime(b.operator.PID())
	return r, err
}

func (b *bench) reportRotations(began rotations) error {
	tokens, _, _ := b.outputs.tally(1)
	requests, err := b.requests.take()
	if err != nil {
		return err
	}
	exchanges, took := b.fleeting.take(), time.Since(began.at)
	cpu, err := cpuTime(b.operator.PID())
	if err != nil {
		return err
	}
	expired := b.outputs.expiredSoFar()
	f := &b.figures
	f.add("rotations", "%d in %.0f s, of tokens that live %s", tokens, took.Seconds(), b.tokenLifetime)
	f.add("rotations: exchanges", "%d; %.1f a second on average, %d at most", len(exchanges), float64(len(exchanges))/took.Seconds(), peak(exchanges))
	f.add("rotations: API requests per rotation", "%s", requests.per(tokens))
	f.add("rotations: CPU of the operator per 1,000", "%.2f s", (cpu-began.cpu).Seconds()*1000/float64(tokens))
	f.add("rotations: seconds with an expired token in a Secret", "%.1f", expired.Seconds())
	f.demand(expired == 0, "rotations: tokens were in their Secrets for %s after they had expired", expired)
	// Those under way at either end have a write on one side of it and a Secret on the other, and who counts Secrets may lag.
	most := 2*max(tokens, len(exchanges)) + 2*b.limits.concurrency
	f.demand(requests.writes() <= most, "rotations: %d writes for %d tokens", requests.writes(), tokens)
	return nil
}
