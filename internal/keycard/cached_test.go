// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCachedDropsOnlyWhatIsStale(t *testing.T) {
	fetched := 0
	c := &cached[int]{op: "testing", now: time.Now, fetch: func(context.Context) (int, time.Time, error) {
		fetched++
		return fetched, time.Now().Add(time.Hour), nil
	}}
	for _, step := range []struct{ stale, want int }{{stale: 0, want: 1}, {stale: 7, want: 1}, {stale: 1, want: 2}, {stale: 1, want: 2}} {
		c.drop(func(v int) bool { return v == step.stale })
		got, err := c.get(context.Background())
		if err != nil || got != step.want {
			t.Fatalf("after dropping %d: %d, %v; want %d", step.stale, got, err, step.want)
		}
	}
}

// TestCachedFetchesOnce starts its callers so close together that some of them find the cache empty just
// before another caller's fetch ends.
func TestCachedFetchesOnce(t *testing.T) {
	for range 500 {
		var fetched atomic.Int64
		c := &cached[int]{op: "testing", now: time.Now, fetch: func(context.Context) (int, time.Time, error) {
			return int(fetched.Add(1)), time.Now().Add(time.Hour), nil
		}}
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() { _, _ = c.get(context.Background()) })
		}
		callers.Wait()
		if n := fetched.Load(); n != 1 {
			t.Fatalf("fetched %d times", n)
		}
	}
}

func TestCachedKeepsNoError(t *testing.T) {
	fail := errors.New("no")
	results := []error{fail, nil}
	c := &cached[int]{op: "testing", now: time.Now, fetch: func(context.Context) (int, time.Time, error) {
		err := results[0]
		results = results[1:]
		return len(results), time.Now().Add(time.Hour), err
	}}
	if _, err := c.get(context.Background()); !errors.Is(err, fail) {
		t.Fatalf("got %v", err)
	}
	for range 2 {
		if v, err := c.get(context.Background()); v != 0 || err != nil {
			t.Fatalf("got %d, %v", v, err)
		}
	}
}
