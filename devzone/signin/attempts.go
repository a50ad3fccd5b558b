// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net"
	"net/http"
	"slices"
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

// attempt is a password that is being compared. It counts as wrong until it has
// succeeded, so that many at a time get no further than one after the other.
type attempt struct {
	attempts attempts
	keys     map[string]int
	at       time.Time
}

// begin counts an attempt, or tells how long the next one has to wait.
func (a attempts) begin(name string, r *http.Request) (attempt, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := attempt{attempts: a, keys: keys(name, r), at: a.clock()}
	for key := range a.times {
		a.recent(key, one.at)
	}
	longest := time.Duration(0)
	for key, most := range one.keys {
		if recent := a.times[key]; len(recent) >= most {
			longest = max(longest, attemptWindow-one.at.Sub(recent[len(recent)-most]))
		}
	}
	if longest > 0 {
		return one, longest
	}
	for key := range one.keys {
		a.times[key] = append(a.times[key], one.at)
	}
	return one, 0
}

// succeeded says that the password was right.
func (a attempt) succeeded() {
	a.attempts.mu.Lock()
	defer a.attempts.mu.Unlock()
	for key := range a.keys {
		times := a.attempts.times[key]
		if i := slices.Index(times, a.at); i >= 0 {
			a.attempts.times[key] = slices.Delete(times, i, i+1)
		}
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
