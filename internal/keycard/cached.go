// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// cached holds one fetched value until it is no longer good. Callers that need it at the same time share
// one fetch; an error is handed to those callers and never kept.
type cached[T any] struct {
	op    string
	now   func() time.Time
	fetch func(context.Context) (value T, goodUntil time.Time, err error)

	flight singleflight.Group
	mu     sync.Mutex
	value  T
	until  time.Time
}

func (c *cached[T]) get(ctx context.Context) (T, error) {
	if value, ok := c.load(); ok {
		return value, nil
	}
	result := c.flight.DoChan("", func() (any, error) {
		// The flight before this one may have ended after load above.
		if value, ok := c.load(); ok {
			return value, nil
		}
		// The fetch outlives the caller that happened to start it, for the others' sake. The HTTP client's
		// timeout bounds it.
		value, until, err := c.fetch(context.WithoutCancel(ctx))
		if err == nil {
			c.store(value, until)
		}
		return value, err
	})
	select {
	case r := <-result:
		value, _ := r.Val.(T)
		return value, r.Err
	case <-ctx.Done():
		var none T
		return none, connectionError(ctx, c.op, ctx.Err())
	}
}

func (c *cached[T]) load() (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.now().Before(c.until)
}

func (c *cached[T]) store(value T, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value, c.until = value, until
}

// drop forgets the value when stale says that it is the one which proved bad: another caller may have
// fetched a newer one meanwhile.
func (c *cached[T]) drop(stale func(T) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stale(c.value) {
		var none T
		c.value, c.until = none, time.Time{}
	}
}
