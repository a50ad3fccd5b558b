// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import "time"

// Budget bounds how often something is done for one binding: burst times in quick succession, then once in each interval. The
// zero value is full. It is the generic cell rate algorithm, which needs one time for its memory.
type Budget struct{ spentUntil time.Time }

// burst is how often something may be done in quick succession: a person edits the spec, or repairs after tampering. Beyond
// it, another program that keeps changing a Secret must not turn into a stream of exchanges.
const burst = 4

// Ready reports whether it may be done at now.
func (b Budget) Ready(now time.Time, every time.Duration) bool {
	ahead := b.spentUntil.Sub(now)
	// A clock that was set back must not close the budget for long.
	return ahead <= (burst-1)*every || ahead > (burst+1)*every
}

// Spend returns what is left after it was done at now.
func (b Budget) Spend(now time.Time, every time.Duration) Budget {
	if ahead := b.spentUntil.Sub(now); ahead < 0 || ahead > (burst+1)*every {
		b.spentUntil = now
	}
	return Budget{b.spentUntil.Add(every)}
}
