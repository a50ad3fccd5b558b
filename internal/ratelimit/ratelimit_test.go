// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"github.com/keycardai/keycard-operator/internal/ratelimit"
)

func ask(h http.Handler) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	return w.Result()
}

// Who asks too often is refused before anything is done for it, and told when to come again.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		served := 0
		h := ratelimit.Handler(ratelimit.Limits{PerSecond: 10, Burst: 20, UnderWay: 1, Each: time.Second}, clock.RealClock{},
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		var refused *http.Response
		for range 100 {
			if answer := ask(h); answer.StatusCode != http.StatusOK {
				refused = answer
			}
		}
		g.Expect(served).To(Equal(20))
		g.Expect(refused.StatusCode).To(Equal(http.StatusTooManyRequests))
		g.Expect(refused.Header.Get("Retry-After")).To(Equal("1"))
		g.Expect(refused.Header.Get("Cache-Control")).To(Equal("no-store"))
		<-time.After(time.Second) // of the bubble
		for range 100 {
			ask(h)
		}
		g.Expect(served).To(Equal(30))
	})
}

// What is served at once is bounded, and how long it takes.
func TestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		h := ratelimit.Handler(ratelimit.Limits{PerSecond: 100, Burst: 100, UnderWay: 2, Each: 5 * time.Second}, clock.RealClock{},
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		begun := time.Now()
		var slow sync.WaitGroup
		for range 2 {
			slow.Go(func() { ask(h) })
		}
		synctest.Wait()
		g.Expect(ask(h).StatusCode).To(Equal(http.StatusTooManyRequests))
		g.Expect(time.Since(begun)).To(BeZero(), "nobody waits for a place")
		slow.Wait()
		g.Expect(time.Since(begun)).To(Equal(5 * time.Second))
		g.Expect(ask(h).StatusCode).To(Equal(http.StatusOK), "the places are free again")
	})
}
