// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ratelimit bounds what strangers may ask of a server.
package ratelimit

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// Limits say how much is served. All of them have to be more than 0.
type Limits struct {
	// PerSecond is how many requests are served on average, and Burst how many at once after a while without.
	PerSecond float64
	Burst     int
	// UnderWay is how many may be under way, and Each how long one may take: its context ends then.
	UnderWay int
	Each     time.Duration
}

// Handler serves what is within the limits, and answers the rest with 429 before anything is done for it. The limits are of all
// who ask together: behind a proxy they have one address, and one who means harm has many.
func Handler(l Limits, c clock.PassiveClock, next http.Handler) http.Handler {
	limiter, places := rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst), make(chan struct{}, l.UnderWay)
	again := strconv.Itoa(int(math.Ceil(1 / l.PerSecond)))
	refuse := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", again)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "Too many ask just now. Try again in a few seconds.", http.StatusTooManyRequests)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuse(w)
			return
		}
		if !limiter.AllowN(c.Now(), 1) {
			refuse(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), l.Each)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
