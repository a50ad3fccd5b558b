// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// StandIn answers requests to the cluster whose "METHOD path" contains what, until the returned function is called.
func (rec *Recorder) StandIn(what string, answer func(*http.Request) (*http.Response, error)) (undo func()) {
	rec.Mu.Lock()
	defer rec.Mu.Unlock()
	rec.Instead = func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.Method+" "+r.URL.Path, what) {
			return nil, nil //nolint:nilnil // it is passed on
		}
		return answer(r)
	}
	return func() {
		rec.Mu.Lock()
		defer rec.Mu.Unlock()
		rec.Instead = nil
	}
}

// Recorder counts requests by what they do, and can answer in the server's place.
type Recorder struct {
	Mu    sync.Mutex
	Seen  []string
	fault func(what string, w http.ResponseWriter, r *http.Request) bool
	// After runs when a request was served and its answer is not yet sent.
	After func(what string)
	// Lose is a part of the requests that are served while their answers are lost.
	Lose string
	// dying, when set, is asked about each request: it may be dropped, or served while its answer is lost.
	Dying func(what string) (dropped, lost bool)
	// instead, when set, may answer a request to the cluster; it passes those on to which it gives neither.
	Instead func(r *http.Request) (*http.Response, error)
}

// middleware records requests as "surface METHOD /path grant".
func (rec *Recorder) middleware(surface string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			what := surface + " " + r.Method + " " + r.URL.Path
			rec.Mu.Lock()
			rec.Seen = append(rec.Seen, what)
			fault, after, lose := rec.fault, rec.After, rec.Lose
			dropped, lost := rec.dies(what)
			rec.Mu.Unlock()
			if dropped {
				panic(http.ErrAbortHandler)
			}
			if lost {
				lose = what
			}
			if lose != "" && strings.Contains(what, lose) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler) // which closes the connection
			}
			if fault != nil && fault(what, w, r) {
				return
			}
			if after == nil {
				next.ServeHTTP(w, r)
				return
			}
			held := httptest.NewRecorder()
			next.ServeHTTP(held, r)
			after(what)
			maps.Copy(w.Header(), held.Header())
			w.WriteHeader(held.Code)
			_, _ = w.Write(held.Body.Bytes())
		})
	}
}

// Transport records writes to the cluster as "METHOD /path".
func (rec *Recorder) Transport(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		rec.Mu.Lock()
		if r.Method != http.MethodGet {
			rec.Seen = append(rec.Seen, r.Method+" "+r.URL.Path)
		}
		dropped, lost := rec.dies("cluster " + r.Method + " " + r.URL.Path + "?" + r.URL.RawQuery)
		instead := rec.Instead
		rec.Mu.Unlock()
		if instead != nil {
			if answer, err := instead(r); answer != nil || err != nil {
				return answer, err
			}
		}
		if dropped {
			return nil, ErrDead
		}
		answer, err := next.RoundTrip(r)
		if lost && err == nil {
			_ = answer.Body.Close()
			return nil, ErrDead
		}
		return answer, err
	})
}

// ErrDead is what the operator sees of the cluster when it is to die.
var ErrDead = errors.New("the process is dead")

func (rec *Recorder) dies(what string) (dropped, lost bool) {
	if rec.Dying == nil {
		return false, false
	}
	return rec.Dying(what)
}

// RoundTripper is a function.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls it.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Afterwards has f called when a request was served and its answer is not yet sent.
func (rec *Recorder) Afterwards(f func(what string)) {
	rec.Mu.Lock()
	defer rec.Mu.Unlock()
	rec.After = f
}

// Answer makes the recorder answer requests that contain what, until the returned function is called.
func (rec *Recorder) Answer(what string, handler http.HandlerFunc) (undo func()) {
	rec.Mu.Lock()
	defer rec.Mu.Unlock()
	rec.fault = func(seen string, w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(seen, what) {
			return false
		}
		handler(w, r)
		return true
	}
	return func() {
		rec.Mu.Lock()
		defer rec.Mu.Unlock()
		rec.fault = nil
	}
}

// WriteJSON answers 200.
func WriteJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// Take gives what was recorded since the last call.
func (rec *Recorder) Take() []string {
	rec.Mu.Lock()
	defer rec.Mu.Unlock()
	seen := rec.Seen
	rec.Seen = nil
	return seen
}

// Count gives how many of the recorded requests contain what, without forgetting them.
func (rec *Recorder) Count(what string) int {
	rec.Mu.Lock()
	defer rec.Mu.Unlock()
	n := 0
	for _, s := range rec.Seen {
		if strings.Contains(s, what) {
			n++
		}
	}
	return n
}

// Exchanges is the path of the token endpoint.
const Exchanges = "zone POST /oauth/2/token"
