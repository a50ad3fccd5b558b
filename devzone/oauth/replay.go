// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"sync"
	"time"
)

// replays remembers what may be used once until it expires by itself. It is in
// memory: an assertion could be used again after a restart within its life.
type replays struct {
	mu   sync.Mutex
	seen map[string]time.Time
	// sweep is the size at which the expired ones are removed.
	sweep int
}

const firstSweep = 1024

// add tells whether the key is new.
func (r *replays) add(key string, expires, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until, used := r.seen[key]; used && now.Before(until) {
		return false
	}
	if r.seen == nil {
		r.seen, r.sweep = map[string]time.Time{}, firstSweep
	}
	r.seen[key] = expires
	if len(r.seen) >= r.sweep {
		for k, until := range r.seen {
			if !now.Before(until) {
				delete(r.seen, k)
			}
		}
		r.sweep = max(firstSweep, 2*len(r.seen))
	}
	return true
}
