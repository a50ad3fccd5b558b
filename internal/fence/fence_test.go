// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

const (
	server = "https://cluster.example"
	lease  = "/apis/coordination.k8s.io/v1/namespaces/keycard-system/leases/operator.keycard.cloud"
	secret = "/api/v1/namespaces/app/secrets/token"
)

// replica is a fence, and what got through it.
type replica struct {
	t      *testing.T
	clock  *clocktesting.FakeClock
	fence  *Fence
	status int
	err    error
	// takes is how long the server takes to answer.
	takes time.Duration
	sent  int
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	c := clocktesting.NewFakeClock(time.Unix(1_000_000, 0))
	return &replica{t: t, clock: c, fence: New(12500*time.Millisecond, c), status: http.StatusOK}
}

func (r *replica) RoundTrip(*http.Request) (*http.Response, error) {
	r.sent++
	r.clock.Step(r.takes)
	if r.err != nil {
		return nil, r.err
	}
	return &http.Response{StatusCode: r.status, Body: http.NoBody}, nil
}

// passes sends a request, and tells whether it was let through. A refused one has to be told as such, and its body closed.
func (r *replica) passes(through func(http.RoundTripper) http.RoundTripper, method, path string) bool {
	r.t.Helper()
	before, body := r.sent, &closable{Reader: strings.NewReader("x")}
	req, err := http.NewRequestWithContext(r.t.Context(), method, server+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := through(r).RoundTrip(req)
	if err == nil {
		_ = answer.Body.Close() // empty
	}
	passed := r.sent > before
	if refused := errors.Is(err, ErrLapsed); refused == passed || refused != body.closed {
		r.t.Errorf("%s %s: sent is %v, the error %v, the body closed is %v", method, path, passed, err, body.closed)
	}
	return passed
}

type closable struct {
	*strings.Reader
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// write writes the Lease, and takes the given answer.
func (r *replica) write(status int) bool {
	r.t.Helper()
	r.status = status
	defer func() { r.status = http.StatusOK }()
	return r.passes(r.fence.Cluster, http.MethodPut, lease)
}

func (r *replica) expect(what string, works bool) {
	r.t.Helper()
	for name, got := range map[string]bool{
		"writes to the cluster": r.passes(r.fence.Cluster, http.MethodPatch, secret),
		"events":                r.passes(r.fence.Cluster, http.MethodPost, "/apis/events.k8s.io/v1/namespaces/app/events"),
		"exchanges":             r.passes(r.fence.Zone, http.MethodPost, "/oauth/2/token"),
		"reads of the zone":     r.passes(r.fence.Zone, http.MethodGet, "/zones"),
	} {
		if got != works {
			r.t.Errorf("%s: %s pass is %v", what, name, got)
		}
	}
	if !r.passes(r.fence.Cluster, http.MethodGet, secret) || !r.passes(r.fence.Cluster, http.MethodGet, lease) {
		r.t.Errorf("%s: reads of the cluster don't pass", what)
	}
}

func TestNeverElected(t *testing.T) {
	r := newReplica(t)
	r.expect("at first", true)
	r.write(http.StatusConflict) // another one was faster
	r.clock.Step(time.Hour)
	r.expect("much later", true)
}

func TestLapse(t *testing.T) {
	r := newReplica(t)
	r.write(http.StatusCreated)
	r.expect("elected", true)
	r.clock.Step(8 * time.Second)
	r.write(http.StatusOK)
	r.clock.Step(12*time.Second - 1)
	r.expect("until the end of the renewed Lease, in whole seconds", true)
	r.clock.Step(1)
	r.expect("lapsed", false)
	if r.write(http.StatusOK) {
		t.Error("a Lease that has lapsed was written")
	}
	r.expect("lapsed for good", false)
}

// Another replica counts from the write, which may come long before the answer.
func TestSlowAnswer(t *testing.T) {
	r := newReplica(t)
	r.takes = 5 * time.Second
	r.write(http.StatusOK)
	r.takes = 0
	r.clock.Step(7*time.Second - 1)
	r.expect("the time of the answer counts", true)
	r.clock.Step(1)
	r.expect("lapsed", false)
}

// A write without an answer, or one that fails, extends nothing and ends nothing.
func TestFailedRenewals(t *testing.T) {
	r := newReplica(t)
	r.write(http.StatusOK)
	r.clock.Step(6 * time.Second)
	r.err = errors.New("no route")
	r.write(http.StatusOK)
	r.err = nil
	r.write(http.StatusInternalServerError)
	r.expect("within the Lease", true)
	r.clock.Step(6 * time.Second)
	r.expect("lapsed", false)
}

// Somebody else wrote the Lease, or deleted it: work rests until a write shows that it is ours.
func TestDoubt(t *testing.T) {
	for _, status := range []int{http.StatusConflict, http.StatusNotFound} {
		r := newReplica(t)
		r.write(http.StatusOK)
		r.write(status)
		r.expect("in doubt", false)
		r.write(http.StatusOK)
		r.expect("it was our own write", true)
		r.write(status)
		r.clock.Step(12 * time.Second)
		if r.write(http.StatusOK) {
			t.Error("a Lease that has lapsed in doubt was written")
		}
	}
}
