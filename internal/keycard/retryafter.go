// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxRetryAfter = time.Hour

// retryAfter reads the pause that an answer asks for, from Retry-After-Ms (milliseconds) or else
// Retry-After (RFC 9110 section 10.2.3: seconds, or a date). The pause is between 0 and an hour. It
// reports false when neither header makes sense.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if d, ok := delay(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d, true
	}
	value := h.Get("Retry-After")
	if d, ok := delay(value, time.Second); ok {
		return d, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

func delay(value string, unit time.Duration) (time.Duration, bool) {
	// ParseFloat would also take "Inf", "nan" and hexadecimal.
	value = strings.TrimSpace(value)
	if value == "" || strings.Trim(value, "+-.0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil && !math.IsInf(n, 0) {
		return 0, false
	}
	return time.Duration(min(max(n*float64(unit), 0), float64(maxRetryAfter))), true
}
