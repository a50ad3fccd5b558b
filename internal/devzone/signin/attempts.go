// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How many wrong passwords there may be within the window, for one name and
// from one address.
const (
	attemptWindow = time.Minute
	maxPerName    = 5
	maxPerAddress = 30
)

// attempts counts wrong passwords.
type attempts struct {
	clock func() time.Time
	mu    *sync.Mutex
	// times are of the failures within the window, by "name x" and "address x".
	times map[string][]time.Time
}

func newAttempts(clock func() time.Time) attempts {
	return attempts{clock: clock, mu: &sync.Mutex{}, times: map[string][]time.Time{}}
}

// keys are what an attempt counts for.
func keys(name string, r *http.Request) map[string]int {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return map[string]int{"name " + strings.ToLower(name): maxPerName, "address " + host: maxPerAddress}
}

// wait is how long the next attempt has to wait, if at all.
func (a attempts) wait(name string, r *http.Request) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, longest := a.clock(), time.Duration(0)
	for key, most := range keys(name, r) {
		recent := a.recent(key, now)
		if len(recent) >= most {
			longest = max(longest, attemptWindow-now.Sub(recent[len(recent)-most]))
		}
	}
	return longest
}

func (a attempts) failed(name string, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	for key := range a.times {
		a.recent(key, now)
	}
	for key := range keys(name, r) {
		a.times[key] = append(a.times[key], now)
	}
}

// recent drops what is out of the window. The caller holds the lock.
func (a attempts) recent(key string, now time.Time) []time.Time {
	all := a.times[key]
	for len(all) > 0 && now.Sub(all[0]) >= attemptWindow {
		all = all[1:]
	}
	if len(all) == 0 {
		delete(a.times, key)
		return nil
	}
	a.times[key] = all
	return all
}

func setRetryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}
