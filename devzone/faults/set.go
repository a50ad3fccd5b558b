// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxForm is how much of a body is looked at for its grant type, in bytes.
const maxForm = 64 << 10

// State is a fault that is in force.
type State struct {
	ID string `json:"id"`
	Fault
	// Matched counts the requests that the fault is for, Hits those that were
	// answered wrongly.
	Matched int `json:"matched"`
	Hits    int `json:"hits"`

	random *rand.Rand
}

// Set is the faults of a server. The zero value is ready to use, and so is a set
// without faults, which costs nothing. It is safe for concurrent use.
type Set struct {
	mu     sync.Mutex
	faults []*State
	next   int
	// stopped is closed when requests that hang have to end.
	stopped chan struct{}
	once    sync.Once
}

// NewSet returns an empty set.
func NewSet() *Set { return &Set{stopped: make(chan struct{})} }

// Stop ends the requests that hang, and those to come.
func (s *Set) Stop() { s.once.Do(func() { close(s.stopped) }) }

// Add puts a fault in force and returns it with its id. The error names every
// bad field.
func (s *Set) Add(f Fault) (State, error) {
	compiled, err := f.compile()
	if err != nil {
		return State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	st := &State{ID: strconv.Itoa(s.next), Fault: compiled, random: rand.New(rand.NewPCG(f.Seed, 1))} //nolint:gosec // a choice that can be repeated
	s.faults = append(s.faults, st)
	return *st, nil
}

// Remove ends a fault, and says whether there was one with the id.
func (s *Set) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.ID == id {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			return true
		}
	}
	return false
}

// Clear ends all faults.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// List returns the faults in the order in which they were added.
func (s *Set) List() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []State{}
	for _, f := range s.faults {
		out = append(out, *f)
	}
	return out
}

// Get returns the fault with the id.
func (s *Set) Get(id string) (State, bool) {
	for _, f := range s.List() {
		if f.ID == id {
			return f, true
		}
	}
	return State{}, false
}

// choose returns the first fault that hits a request, if any.
func (s *Set) choose(surface string, r *http.Request) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}, false
	}
	grantType := grantTypeOf(r)
	for _, f := range s.faults {
		if f.concerns(surface, r.Method, r.URL.Path, grantType) && f.strikes() {
			return f.Fault, true
		}
	}
	return Fault{}, false
}

// strikes counts a matching request and tells whether it is hit.
func (f *State) strikes() bool {
	f.Matched++
	if f.Matched <= f.After || (f.Count > 0 && f.Hits >= f.Count) {
		return false
	}
	if f.Rate != nil && f.random.Float64() >= *f.Rate {
		return false
	}
	f.Hits++
	return true
}

// grantTypeOf reads the grant type of a token request and puts the body back.
func grantTypeOf(r *http.Request) string {
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return ""
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if err != nil {
		return ""
	}
	form, err := url.ParseQuery(string(head))
	if err != nil {
		return ""
	}
	return form.Get("grant_type")
}

// Wrap puts the faults in front of the handler of a surface.
func (s *Set) Wrap(surface string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, hit := s.choose(surface, r)
		if !hit {
			next.ServeHTTP(w, r)
			return
		}
		if f.latency > 0 && !s.wait(r, f.latency) {
			return
		}
		switch {
		case f.Status != 0:
			f.answer(w)
		case f.Break == Lost:
			next.ServeHTTP(&discard{header: http.Header{}}, r)
			reset(w)
		case f.Break != "":
			s.broken(w, r, f.Break)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// wait returns false when the client or the server has gone first.
func (s *Set) wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.stopped:
	}
	return false
}

func (f Fault) answer(w http.ResponseWriter) {
	contentType := f.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	w.Header().Set("Content-Type", contentType)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	for name, value := range f.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
}

func (s *Set) broken(w http.ResponseWriter, r *http.Request, how string) {
	body := map[string]string{
		Malformed: `{"access_token": "x", "items": [`, HTML: "<!DOCTYPE html><title>Bad gateway</title>", Truncated: `{"items": [`,
	}[how]
	switch how {
	case Reset:
		reset(w)
		return
	case Hang:
		// The server notices that the client has gone once the body is read.
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-s.stopped:
		}
		return
	case Truncated:
		w.Header().Set("Content-Length", strconv.Itoa(10*len(body)))
	}
	w.Header().Set("Content-Type", "application/json")
	if how == HTML {
		w.Header().Set("Content-Type", "text/html")
	}
	_, _ = io.WriteString(w, body)
}

// reset closes the connection with a RST instead of a FIN.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// HTTP/2 has no connection of its own for a request; this ends the stream.
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// discard is where the answer to a lost request goes.
type discard struct{ header http.Header }

// Header is thrown away.
func (d *discard) Header() http.Header { return d.header }

// Write throws away.
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader throws away.
func (d *discard) WriteHeader(int) {}
