// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// cycles is one binding's simulated life: real time, and the cluster's clock, which is off by skew.
type cycles struct {
	*rand.Rand
	t        *testing.T
	seed     int
	uid      string
	lifetime time.Duration
	// before is spec.before, and longest the longest outage that the schedule has to bear.
	before, longest time.Duration
	now             time.Time
	skew            time.Duration
	// held is the token as the Secret remembers it, by the cluster's clock; issued and expires are real times.
	held            *Held
	issued, expires time.Time
	failures        int
	exchanges       int
}

func (l *cycles) clock() time.Time { return l.now.Add(l.skew) }

func (l *cycles) due() bool {
	_, due := due(Facts{Now: l.clock(), Seed: l.uid, Before: l.before, Held: l.held}, State{})
	return due
}

// exchange takes the next token.
func (l *cycles) exchange(jumped bool) {
	// The Secret remembers whole seconds.
	if gap := l.now.Sub(l.issued); l.held != nil && !jumped && gap <= MinInterval-time.Second {
		l.t.Fatalf("seed %d: %s after the last exchange", l.seed, gap)
	}
	l.held = good(NewLife(l.clock(), l.lifetime))
	l.issued, l.expires = l.now, l.now.Add(l.lifetime)
	l.failures = 0
	l.exchanges++
	if l.due() {
		l.t.Fatalf("seed %d: exchanges twice", l.seed)
	}
}

// cycle lives from one token to the next: with reconciles for no reason, which a restart is too, a jump of the clock, and an
// outage of the zone.
func (l *cycles) cycle() {
	at := RefreshAt(l.held.Life, l.uid, l.before)
	for range l.IntN(4) {
		if until := at.Sub(l.clock()); until > 0 {
			l.now = l.now.Add(time.Duration(l.Int64N(int64(until))))
		}
		if l.clock().Before(at) && l.due() {
			l.t.Fatalf("seed %d: exchanges %s before its time", l.seed, at.Sub(l.clock()))
		}
	}
	jumped := l.IntN(20) == 0
	if jumped {
		l.skew += time.Duration(l.Int64N(int64(20*time.Minute))) - 10*time.Minute
	}
	if until := at.Sub(l.clock()); until > 0 {
		l.now = l.now.Add(until)
	}
	outage := time.Duration(0)
	if l.IntN(3) == 0 {
		outage = time.Duration(l.Int64N(int64(l.longest)))
	}
	for end := l.now.Add(outage); ; {
		if !l.due() {
			l.t.Fatalf("seed %d: it is due and nothing happens", l.seed)
		}
		if !l.now.Before(end) {
			break
		}
		if l.failures++; l.IntN(10) == 0 {
			l.failures = 1 // a restart forgets
		}
		l.now = l.now.Add(RetryAfter(l.failures, l.held.Life.Remaining(l.clock()), l.uid))
	}
	if late := l.now.Sub(l.expires); !jumped && late >= 0 && l.lifetime >= time.Minute {
		l.t.Fatalf("seed %d: tokens live %s; the next came %s too late, after an outage of %s", l.seed, l.lifetime, late, outage)
	}
	l.exchange(jumped)
}

// Ten thousand lives of tokens that live from 30 seconds to a day: never late while the outage is shorter than what the
// schedule leaves, never closer than the least spacing, never twice, and nothing at all for a reconcile without a reason.
func TestTenThousandLives(t *testing.T) {
	const lives, tokens = 10_000, 10
	for seed := range lives {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		l := &cycles{
			Rand: r, t: t, seed: seed, now: time.Unix(1_800_000_000, r.Int64N(int64(time.Second))),
			lifetime: 30*time.Second + time.Duration(r.Int64N(int64(24*time.Hour-30*time.Second))),
		}
		if seed%2 == 0 { // half of them live for minutes
			l.lifetime = 30*time.Second + time.Duration(r.Int64N(int64(10*time.Minute)))
		}
		l.longest = l.lifetime / 8
		if l.uid = strconv.Itoa(seed); seed%3 == 0 { // a third says how long before the expiry
			l.before, l.longest = time.Duration(1+r.Int64N(int64(l.lifetime))), l.lifetime/16
		}
		l.exchange(false)
		for range tokens {
			l.cycle()
		}
		if l.exchanges != tokens+1 {
			t.Fatalf("seed %d: %d exchanges in %d cycles", seed, l.exchanges, tokens)
		}
	}
}
