// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import "time"

// The priorities of looks that the operator asks for itself. Events of the cluster have 0, as when a binding is made, or -100 at
// the start.
const (
	// Urgent: the token lapses before a mounted file could follow, or has lapsed.
	Urgent = 1000
	// first: there is no token yet.
	first = 0
	// routine is of a token that has all the time; one that lapses sooner has more, up to soon. The looks at the start come
	// before that: most of them find nothing to do.
	routine, soon = -1000, -101
)

// Priority orders bindings by how soon their token lapses at now (zero: they have none that works).
func Priority(deadline, now time.Time) int {
	if deadline.IsZero() {
		return first
	}
	left := deadline.Sub(now)
	if left < MountPropagation {
		return Urgent
	}
	minutes := int(min(left, MaxLifetime) / time.Minute)
	return soon - (soon-routine)*minutes/int(MaxLifetime/time.Minute)
}

// Deadline returns when the token lapses, or when it did; zero when there is none for this spec.
func (f Facts) Deadline() time.Time {
	if !f.Fits() {
		return time.Time{}
	}
	return f.Held.Life.ExpiresAt
}

// Turn returns when a binding has to have been at the zone: before its token lapses. One that has no token comes after those that
// are about to lapse, and before all others.
func (f Facts) Turn() time.Time {
	if at := f.Deadline(); !at.IsZero() {
		return at
	}
	return f.Now.Add(MountPropagation)
}

// A binding that waits in line looks for itself, in case it was called while it could not go: after leastBackstop, and later the
// more wait, because that many look. A call is lost hardly ever, so mostBackstop is no harm.
const (
	leastBackstop, mostBackstop = 15 * time.Second, 2 * time.Minute
	backstopPerWaiter           = 10 * time.Millisecond
)

// LastChanceEvery is how often a token that is about to lapse is tried for, whatever pause the zone asked for.
const LastChanceEvery = 30 * time.Second

// backstop is how long a binding that waits for its turn, with so many others, is to wait for the call.
func backstop(f Facts, others int) time.Duration {
	wait := min(leastBackstop+time.Duration(others)*backstopPerWaiter, mostBackstop)
	if f.HasTime() {
		wait = min(wait, FloorAt(f.Held.Life).Sub(f.Now))
	}
	return wait
}
