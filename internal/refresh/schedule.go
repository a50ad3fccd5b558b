// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

const (
	// MaxLifetime is the longest announced lifetime that is believed: beyond it, a mistake of the server
	// would park the token for ever.
	MaxLifetime = 24 * time.Hour

	// AssumedLifetime is for tokens whose lifetime nobody announced.
	AssumedLifetime = 5 * time.Minute

	// MinInterval is the least time between two exchanges for one binding, whatever the server says.
	MinInterval = 15 * time.Second

	// MountPropagation is how long a kubelet may take to project a changed Secret into a running pod:
	// its sync period of one minute with jitter, and the delay of its cache.
	MountPropagation = 2 * time.Minute

	// RetryBudget is the time for failed attempts that is left before MountPropagation starts to count.
	RetryBudget = 30 * time.Second
)

// Life is the life of one token.
type Life struct {
	// IssuedAt is when the token was received; ExpiresAt is when it stops working.
	IssuedAt, ExpiresAt time.Time
}

// Lifetime is the whole life of the token, not what remains of it.
func (l Life) Lifetime() time.Duration { return l.ExpiresAt.Sub(l.IssuedAt) }

// Remaining is what is left at now; negative when expired.
func (l Life) Remaining(now time.Time) time.Duration { return l.ExpiresAt.Sub(now) }

// Expired tells whether the token has stopped working at now.
func (l Life) Expired(now time.Time) bool { return !now.Before(l.ExpiresAt) }

// NewLife is the life of a token received at now whose announced lifetime is d (0 or less: nobody
// announced one). Times are whole seconds, because they are stored that way and compared later.
func NewLife(now time.Time, d time.Duration) Life {
	if d <= 0 {
		d = AssumedLifetime
	}
	issued := now.UTC().Truncate(time.Second)
	return Life{IssuedAt: issued, ExpiresAt: issued.Add(max(min(d, MaxLifetime).Truncate(time.Second), time.Second))}
}

// RefreshAt is when to exchange for the next token: after two thirds of the life at the latest, and with
// enough life left for the new token to reach mounted files; earlier by up to a fifth of the life, spread
// by seed (the object's UID), so that bindings created together drift apart: with less than that, their crowd would still be
// one after many cycles. It is never sooner than
// MinInterval after the issue. A positive before asks for the refresh that long before the expiry instead of
// after two thirds: at most half of the life before it, and never too late for mounted files.
func RefreshAt(l Life, seed string, before time.Duration) time.Time {
	life := l.Lifetime()
	latest := min(life*2/3, life-margin(life))
	if before > 0 {
		latest = life - max(min(before, life/2), margin(life))
	}
	at := latest - jitter(seed, l.IssuedAt, life/5)
	return l.IssuedAt.Add(max(at, MinInterval)).Truncate(time.Second)
}

// FloorAt is when a token whose refresh keeps failing stops being called ready: from then on a mounted
// file could not follow in time. Short lives spare a fifth of themselves.
func FloorAt(l Life) time.Time {
	return l.ExpiresAt.Add(-min(MountPropagation, l.Lifetime()/5))
}

// TooShortToMount tells whether a token lives too short for a mounted Secret to follow every rotation:
// refreshed at half its life, the next token may reach the file after the expiry.
func TooShortToMount(l Life) bool {
	return l.Lifetime() < 2*MountPropagation
}

// margin is the life that has to be left when the next token is asked for. Lives of under five minutes
// cannot spare the whole budget; they spare half of themselves.
func margin(life time.Duration) time.Duration {
	return min(max(MountPropagation, life/10)+RetryBudget, life/2)
}

// RetryAfter is how long to wait after the given number of failures in a row (1 for the first), while
// remaining is left of the present token (0 or less: there is none that works). It doubles from one
// second and is capped at a minute; a living token caps it at a fifth of its remaining life, so that
// several attempts fit in. It varies by seed and failures, so that objects that failed together do not
// come back together.
func RetryAfter(failures int, remaining time.Duration, seed string) time.Duration {
	const first, most = time.Second, time.Minute
	wait := most
	if shift := failures - 1; shift < 6 {
		wait = min(first<<max(shift, 0), most)
	}
	if remaining > 0 {
		wait = min(wait, max(remaining/5, first))
	}
	return wait + spread(seed, int64(failures), wait/2)
}

// SlowRetryAfter is how long to wait after a refusal that only a person can mend, outside the cluster:
// ten minutes and up to a tenth more, which is at most six attempts an hour.
func SlowRetryAfter(failures int, seed string) time.Duration {
	const period = 10 * time.Minute
	return period + spread(seed, int64(failures), period/10)
}

// UnchangedRetryAfter is how long to wait when the zone handed out a token that lives no longer than the
// present one, of which remaining is left.
func UnchangedRetryAfter(remaining time.Duration) time.Duration {
	wait := max(remaining/4, MinInterval)
	if remaining > 0 {
		wait = min(wait, remaining+time.Second) // the zone may renew at the last moment
	}
	return wait
}

// jitter is a stable duration in [0, width) for one token of one object: it does not move when it is
// computed again, and differs from cycle to cycle.
func jitter(seed string, issued time.Time, width time.Duration) time.Duration {
	return spread(seed, issued.Unix(), width)
}

func spread(seed string, salt int64, width time.Duration) time.Duration {
	if width <= 0 {
		return 0
	}
	h := fnv.New64a()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(salt)) // #nosec G115 -- only the bits matter
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(seed))
	return time.Duration(mix(h.Sum64()) % uint64(width)) // #nosec G115 -- width is positive
}

// mix spreads the entropy of FNV's low bits over all of them (the finalizer of SplitMix64): without it,
// seeds that differ in their last character only land close together.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Jittered is a period shortened by up to a tenth, differently for each seed and each time.
func Jittered(period time.Duration, seed string, now time.Time) time.Duration {
	return period - jitter(seed, now, period/10)
}
