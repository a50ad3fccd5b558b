// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/internal/refresh"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestRefreshAt(t *testing.T) {
	tests := map[string]struct {
		lifetime         time.Duration
		before           time.Duration
		earliest, latest time.Duration // after the issue
	}{
		"twenty minutes before":                 {time.Hour, 20 * time.Minute, 28 * time.Minute, 40 * time.Minute},
		"half an hour before":                   {time.Hour, 30 * time.Minute, 18 * time.Minute, 30 * time.Minute},
		"before is more than half the life":     {time.Hour, 50 * time.Minute, 18 * time.Minute, 30 * time.Minute},
		"before is too late for mounts":         {time.Hour, time.Minute, 2490 * time.Second, 3210 * time.Second},
		"an hour, as Atlassian gives":           {time.Hour, 0, 28 * time.Minute, 40 * time.Minute},
		"a day":                                 {24 * time.Hour, 0, 672 * time.Minute, 16 * time.Hour},
		"ten minutes leave the kubelet time":    {10 * time.Minute, 0, 280 * time.Second, 400 * time.Second},
		"five minutes leave the kubelet time":   {5 * time.Minute, 0, 90 * time.Second, 150 * time.Second},
		"a minute is split in half":             {time.Minute, 0, 18 * time.Second, 30 * time.Second},
		"half a minute is at the least spacing": {30 * time.Second, 0, 15 * time.Second, 15 * time.Second},
		"ten seconds can't be kept fresh":       {10 * time.Second, 0, 15 * time.Second, 15 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			life := refresh.NewLife(epoch, tc.lifetime)
			for i := range 200 {
				got := refresh.RefreshAt(life, fmt.Sprintf("uid-%d", i), tc.before).Sub(epoch)
				if got < tc.earliest || got > tc.latest {
					t.Fatalf("refresh after %v, want within [%v, %v]", got, tc.earliest, tc.latest)
				}
			}
		})
	}
}

func TestNewLife(t *testing.T) {
	tests := map[string]struct{ announced, want time.Duration }{
		"as announced":      {time.Hour, time.Hour},
		"not announced":     {0, refresh.AssumedLifetime},
		"negative":          {-time.Second, refresh.AssumedLifetime},
		"a year":            {365 * 24 * time.Hour, refresh.MaxLifetime},
		"under a second":    {time.Millisecond, time.Second},
		"parts of a second": {90*time.Second + 900*time.Millisecond, 90 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			life := refresh.NewLife(epoch.Add(700*time.Millisecond), tc.announced)
			if got := life.Lifetime(); got != tc.want {
				t.Errorf("lifetime %v, want %v", got, tc.want)
			}
			if !life.IssuedAt.Equal(epoch) {
				t.Errorf("issued at %v, want whole seconds", life.IssuedAt)
			}
		})
	}
}

func TestFloorAndMount(t *testing.T) {
	tests := map[string]struct {
		lifetime, floor time.Duration // floor: before the expiry
		tooShort        bool
	}{
		"an hour":      {time.Hour, 2 * time.Minute, false},
		"five minutes": {5 * time.Minute, time.Minute, false},
		"four minutes": {4 * time.Minute, 48 * time.Second, false},
		"a minute":     {time.Minute, 12 * time.Second, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			life := refresh.NewLife(epoch, tc.lifetime)
			if got := life.ExpiresAt.Sub(refresh.FloorAt(life)); got != tc.floor {
				t.Errorf("floor %v before the expiry, want %v", got, tc.floor)
			}
			if got := refresh.TooShortToMount(life); got != tc.tooShort {
				t.Errorf("too short to mount: %v, want %v", got, tc.tooShort)
			}
		})
	}
}

// Any token that lives half a minute or more is refreshed before its floor, never within the least
// spacing, and at the same time whenever it is computed.
func TestRefreshIsNeverLateAndNeverTooSoon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.Int64Range(int64(30*time.Second), int64(24*time.Hour)).Draw(t, "lifetime"))
		seed := rapid.String().Draw(t, "seed")
		life := refresh.NewLife(epoch.Add(time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "offset"))), lifetime)

		before := time.Duration(rapid.Int64Range(0, int64(lifetime)).Draw(t, "before"))

		at := refresh.RefreshAt(life, seed, before)
		if at.After(refresh.FloorAt(life)) {
			t.Fatalf("refresh at %v is after the floor %v", at, refresh.FloorAt(life))
		}
		if at.Sub(life.IssuedAt) < refresh.MinInterval {
			t.Fatalf("refresh %v after the issue", at.Sub(life.IssuedAt))
		}
		if !refresh.TooShortToMount(life) && life.ExpiresAt.Sub(at) < refresh.MountPropagation {
			t.Fatalf("%v is left for the mounted file", life.ExpiresAt.Sub(at))
		}
		if again := refresh.RefreshAt(life, seed, before); !again.Equal(at) {
			t.Fatalf("moved from %v to %v", at, again)
		}
	})
}

// Thousands of cycles with outages and restarts: a token is replaced before it expires whenever the
// outage is shorter than what the schedule leaves, and no two exchanges are closer than the least spacing.
func TestSimulatedLives(t *testing.T) {
	cycles := 0
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.IntRange(60, 86400).Draw(t, "seconds")) * time.Second
		seed := rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "uid")
		now := epoch
		life := refresh.NewLife(now, lifetime)
		for range 50 {
			cycles++
			outage := time.Duration(rapid.Int64Range(0, int64(lifetime/8)).Draw(t, "outage"))
			at := refresh.RefreshAt(life, seed, 0)
			down := at.Add(outage)
			failures := 0
			for now = at; now.Before(down); {
				failures++
				now = now.Add(refresh.RetryAfter(failures, life.Remaining(now), seed))
			}
			if life.Expired(now) {
				t.Fatalf("lifetime %v, outage %v: exchanged %v after the expiry", lifetime, outage, now.Sub(life.ExpiresAt))
			}
			if gap := now.Sub(life.IssuedAt); gap < refresh.MinInterval {
				t.Fatalf("exchanged %v after the last", gap)
			}
			life = refresh.NewLife(now, lifetime)
		}
	})
	if cycles < 1000 {
		t.Errorf("only %d cycles were simulated", cycles)
	}
}

// Bindings that were created in the same second are spread over all the time there is: once two cycles are over, the busiest
// second has less than three times the exchanges of the mean one.
func TestJitterSpreads(t *testing.T) {
	const (
		bindings = 100_000
		lifetime = time.Hour
		window   = 4 * time.Hour
	)
	from := epoch.Add(2 * lifetime * 2 / 3) // when the last of them has ended its second cycle
	perSecond := map[int64]int{}
	total := 0
	for i := range bindings {
		seed := fmt.Sprintf("0e8f1c7a-0000-4000-8000-%012d", i)
		at := epoch
		for at.Before(from.Add(window)) {
			if !at.Before(from) {
				perSecond[at.Unix()]++
				total++
			}
			at = refresh.RefreshAt(refresh.NewLife(at, lifetime), seed, 0)
		}
	}
	peak := 0
	for _, n := range perSecond {
		peak = max(peak, n)
	}
	if mean := float64(total) / window.Seconds(); float64(peak) >= 3*mean {
		t.Errorf("the peak second has %d exchanges, the mean one %.1f", peak, mean)
	}
}

func TestRetryAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		failures := rapid.IntRange(-1, 1_000_000).Draw(t, "failures")
		remaining := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(24*time.Hour)).Draw(t, "remaining"))
		wait := refresh.RetryAfter(failures, remaining, "seed")
		if wait < time.Second || wait > 90*time.Second {
			t.Fatalf("waits %v", wait)
		}
		if remaining > 10*time.Second && wait > remaining*3/10+time.Second {
			t.Fatalf("waits %v of the %v that remain", wait, remaining)
		}
	})
	if slow := refresh.SlowRetryAfter(3, "seed"); slow < 10*time.Minute || slow > 11*time.Minute {
		t.Errorf("slow retry after %v, want at most six an hour", slow)
	}
	if got := refresh.UnchangedRetryAfter(10 * time.Second); got != 11*time.Second {
		t.Errorf("an unchanged token that expires is asked for again after %v", got)
	}
	if got := refresh.UnchangedRetryAfter(40 * time.Second); got != refresh.MinInterval {
		t.Errorf("unchanged token is asked for again after %v", got)
	}
	if got := refresh.UnchangedRetryAfter(20 * time.Minute); got != 5*time.Minute {
		t.Errorf("unchanged token is asked for again after %v", got)
	}
}
