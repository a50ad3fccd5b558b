// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// lockPatience is how long an install waits for others of its zone: well within what a reconcile has, so that it can be said.
const lockPatience = time.Minute

// lockZone waits until no other install changes what several share in the zone. Zones are told apart by the management API
// too: what another install names there may hang, and the id says nothing of it.
func (r *Reconciler) lockZone(ctx context.Context, s *scope) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	unlock, err = r.zoneLocks.lock(ctx, strings.ToLower(s.resource.Spec.Zone.ManagementURL())+" "+s.zoneID())
	if err != nil {
		return nil, problem.Passing(v1alpha1.ReasonProgressingWithRetry, "other KeycardResources of the zone are being worked on; it is tried again")
	}
	return unlock, nil
}

// keyedMutex has one mutex per key. The zero value is ready for use.
type keyedMutex struct {
	mu sync.Mutex
	m  map[string]*turn
}

// turn is a mutex for which one can wait no longer than a context lives. It is kept as long as somebody has it or waits for it.
type turn struct {
	free  chan struct{} // has an element while nobody has the mutex
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
