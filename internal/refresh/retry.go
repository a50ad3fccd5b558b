// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"time"

	"github.com/keycardai/keycard-operator/internal/problem"
)

// Pause returns how long to wait before the next attempt after the given number of failures in a row, the last of which is p,
// while remaining is left of a token that works (0: there is none). 0 means that a watch reports instead. seed spreads objects
// that failed together.
func Pause(p *problem.Problem, failures int, remaining time.Duration, seed string) time.Duration {
	switch p.Kind {
	case problem.KindPerson:
		return SlowRetryAfter(failures, seed)
	case problem.KindThrottled:
		return max(p.RetryAfter, RetryAfter(failures, 0, seed))
	case problem.KindTransient:
		return RetryAfter(failures, remaining, seed)
	}
	return 0
}
