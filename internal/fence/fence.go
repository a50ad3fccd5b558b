// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fence keeps a replica that has lost its Lease from acting. Leader election alone doesn't: a process that was
// stopped for longer than its Lease lasts goes on working until it has tried in vain to renew it.
package fence

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// ErrLapsed says that another replica may be the leader by now.
var ErrLapsed = errors.New("this replica's Lease has lapsed: another one may have taken over, so nothing is sent")

// Fence knows until when this process holds its Lease, from the answers to its own writes of it. A process that never held
// one passes: a standby serves the consent page, and without leader election there is no Lease. It is safe for concurrent use.
type Fence struct {
	duration time.Duration
	clock    clock.PassiveClock

	mu sync.Mutex
	// until is when another replica may take the Lease; zero means that it was never held.
	until time.Time
	// doubtful is set when a write of the Lease was refused, until the next one succeeds.
	doubtful bool
}

// New makes a fence for a Lease of that duration. A Lease tells others its duration in whole seconds.
func New(leaseDuration time.Duration, c clock.PassiveClock) *Fence {
	return &Fence{duration: leaseDuration.Truncate(time.Second), clock: c}
}

// Cluster wraps the transport to the cluster: it learns from the writes of the Lease, and refuses all writes once that has
// lapsed. Reads pass. A Lease that has lapsed is not written again, whoever wants to: giving it up would take it from the
// successor.
func (f *Fence) Cluster(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return next.RoundTrip(r)
		}
		if !isLease(r.URL.Path) {
			return send(next, r, f.check())
		}
		asked := f.clock.Now()
		answer, err := send(next, r, f.checkLease())
		if err == nil {
			f.learn(asked, answer.StatusCode)
		}
		return answer, err
	})
}

// Zone wraps the transport to zones: once the Lease has lapsed it refuses reads too, as the zone need not be asked.
func (f *Fence) Zone(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return send(next, r, f.check()) })
}

// send sends the request unless it is refused. A transport closes the body in any case.
func send(next http.RoundTripper, r *http.Request, refused error) (*http.Response, error) {
	if refused == nil {
		return next.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close() // nothing was read
	}
	return nil, refused
}

func (f *Fence) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doubtful || f.lapsed() {
		return ErrLapsed
	}
	return nil
}

// checkLease lets a doubtful Lease be written: whether it is still held comes out by that.
func (f *Fence) checkLease() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lapsed() {
		return ErrLapsed
	}
	return nil
}

// lapsed is for good: nothing extends a Lease that may not be written.
func (f *Fence) lapsed() bool { return !f.until.IsZero() && !f.clock.Now().Before(f.until) }

// learn takes the answer to a write of the Lease. Others count from when they see the write, which is later than asked. A
// conflict may come from a write of our own whose answer was lost, so it only raises a doubt.
func (f *Fence) learn(asked time.Time, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case status >= 200 && status < 300:
		f.until, f.doubtful = asked.Add(f.duration), false
	case status == http.StatusConflict || status == http.StatusNotFound:
		f.doubtful = !f.until.IsZero()
	}
}

// isLease tells a request about a Lease: the operator has only one.
func isLease(path string) bool {
	return strings.HasPrefix(path, "/apis/coordination.k8s.io/") && strings.Contains(path, "/leases")
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
