// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"sync"
)

// keyedMutex has one mutex per key. The zero value is ready for use.
type keyedMutex struct {
	mu sync.Mutex
	m  map[string]*turn
}

// turn is a mutex with a context. It is kept as long as anyone has it or waits for it.
type turn struct {
	free  chan struct{} // has an element while no one has the mutex
	users int
}

// lock locks the key's mutex and gives the function that unlocks it. The error is the context's.
func (k *keyedMutex) lock(ctx context.Context, key string) (unlock func(), err error) {
	t := k.join(key)
	select {
	case <-t.free:
		return func() {
			t.free <- struct{}{}
			k.leave(key)
		}, nil
	case <-ctx.Done():
		k.leave(key)
		return nil, ctx.Err()
	}
}

func (k *keyedMutex) join(key string) *turn {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string]*turn{}
	}
	t := k.m[key]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		k.m[key] = t
	}
	t.users++
	return t
}

func (k *keyedMutex) leave(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.m[key]
	if t.users--; t.users == 0 {
		delete(k.m, key)
	}
}
