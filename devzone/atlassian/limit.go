// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// limiter counts requests in fixed windows, one count for each app and site.
type limiter struct {
	limit *RateLimit
	clock func() time.Time

	mu      sync.Mutex
	windows map[string]window
}

type window struct {
	used int
	ends time.Time
}

func newLimiter(limit *RateLimit, clock func() time.Time) *limiter {
	return &limiter{limit: limit, clock: clock, windows: map[string]window{}}
}

// allow counts a request and sets the rate limit headers. When the quota is
// used up it answers 429 and returns false.
func (l *limiter) allow(w http.ResponseWriter, key string) bool {
	if l.limit == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	win := l.windows[key]
	if !now.Before(win.ends) {
		win = window{ends: now.Add(time.Duration(l.limit.Seconds) * time.Second)}
	}
	win.used++
	l.windows[key] = win

	remaining := max(0, l.limit.Requests-win.used)
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(l.limit.Requests))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("X-RateLimit-Reset", win.ends.UTC().Format(time.RFC3339))
	if remaining*5 < l.limit.Requests {
		h.Set("X-RateLimit-NearLimit", "true")
	}
	if win.used <= l.limit.Requests {
		return true
	}
	// Rounded up, so that a client that waits exactly this long gets through.
	wait := (win.ends.Sub(now) + time.Second - 1) / time.Second
	h.Set("Retry-After", strconv.Itoa(int(wait)))
	h.Set("RateLimit-Reason", "confluence-quota-tenant-based")
	wire.JSON(w, http.StatusTooManyRequests, map[string]any{"code": http.StatusTooManyRequests, "message": "Rate limit exceeded"})
	return false
}
