// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/devzone"
)

// zone is a running zone that counts exchanges.
type zone struct {
	*devzone.Running

	mu sync.Mutex
	at []time.Time
}

// startZones starts both zones. They are part of this process, so that their work is not taken for the operator's.
func (b *bench) startZones(ctx context.Context) (err error) {
	b.Say("starting two zones, whose tokens live %s and %s", time.Hour, b.tokenLifetime)
	if b.lasting, err = b.startZone(ctx, time.Hour); err != nil {
		return err
	}
	b.fleeting, err = b.startZone(ctx, b.tokenLifetime)
	return err
}

func (b *bench) startZone(ctx context.Context, lifetime time.Duration) (*zone, error) {
	z := &zone{}
	running, err := devzone.Start(context.WithoutCancel(ctx), devzone.Config{UpstreamTokenLifetime: lifetime, ZoneMiddleware: z.count})
	if err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	z.Running = running
	b.Later(z.Close)
	return z, nil
}

// count notes when a token was asked for.
func (z *zone) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/oauth/2/token" {
			z.mu.Lock()
			z.at = append(z.at, time.Now())
			z.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// take gives when the exchanges since the last call were.
func (z *zone) take() []time.Time {
	z.mu.Lock()
	defer z.mu.Unlock()
	at := z.at
	z.at = nil
	return at
}

// peak is the most exchanges in one second.
func peak(at []time.Time) int {
	most := 0
	at = slices.SortedFunc(slices.Values(at), time.Time.Compare)
	first := 0
	for i, t := range at {
		for t.Sub(at[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
