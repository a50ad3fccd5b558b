// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import "sync"

// keyedMutex has one mutex per key. The zero value is ready for use. Keys are never forgotten: there are as many as
// zones.
type keyedMutex struct {
	mu sync.Mutex
	m  map[string]*sync.Mutex
}

// lock locks the key's mutex and gives the function that unlocks it.
func (k *keyedMutex) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*sync.Mutex{}
	}
	if k.m[key] == nil {
		k.m[key] = &sync.Mutex{}
	}
	held := k.m[key]
	k.mu.Unlock()
	held.Lock()
	return held.Unlock
}
