// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package throttle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keycardai/keycard-operator/internal/throttle"
)

const zone = "https://zone"

var start = time.Unix(1_800_000_000, 0)

// crowd is a set of gates whose calls are kept.
type crowd struct {
	*throttle.Gates
	clock  *clocktesting.FakeClock
	called chan string
}

func newCrowd(limit int) *crowd {
	clock := clocktesting.NewFakeClock(start)
	c := &crowd{Gates: throttle.New(limit, clock), clock: clock, called: make(chan string, 1000)}
	c.OnCall(func(id string) { c.called <- id })
	return c
}

func (c *crowd) enter(t *testing.T, id string, lapses time.Duration, want throttle.Verdict) {
	t.Helper()
	if got := c.Enter(zone, id, start.Add(lapses), lapses > 0); got != want {
		t.Fatalf("%s: the verdict is %d, want %d", id, got, want)
	}
}

// next waits for a call.
func (c *crowd) next(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-c.called:
		if got != want {
			t.Fatalf("called %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody was called, want %s", want)
	}
}

func (c *crowd) silent(t *testing.T) {
	t.Helper()
	select {
	case got := <-c.called:
		t.Fatalf("called %s", got)
	default:
	}
}

var fine = throttle.Answer{Answered: true}

func TestOnlySoManyAtOnce(t *testing.T) {
	c := newCrowd(2)
	c.enter(t, "a", 0, throttle.Go)
	c.enter(t, "b", 0, throttle.Go)
	c.enter(t, "late", time.Hour, throttle.Full)
	c.enter(t, "soon", time.Minute, throttle.Full)
	c.enter(t, "over", -time.Minute, throttle.Full)
	c.enter(t, "late", time.Hour, throttle.Full)   // who asks twice stands there once
	c.enter(t, "soon", 2*time.Hour, throttle.Full) // and keeps its place
	if got := c.Enter("https://other", "x", time.Time{}, false); got != throttle.Go {
		t.Fatal("another zone is held up")
	}
	if n := c.Waiting(zone); n != 3 {
		t.Errorf("%d wait, want 3", n)
	}
	for _, want := range []string{"over", "soon", "late"} {
		c.Leave(zone, fine)
		c.next(t, want)
		c.enter(t, want, 0, throttle.Go)
	}
	c.Leave(zone, fine)
	c.silent(t)
}

func TestOnePauseForAll(t *testing.T) {
	c := newCrowd(4)
	c.enter(t, "a", 0, throttle.Go)
	c.enter(t, "b", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true, Pause: 90 * time.Second})
	c.Leave(zone, fine) // b was under way: that does not end the pause
	c.enter(t, "late", time.Hour, throttle.Paused)
	c.enter(t, "soon", time.Minute, throttle.Paused)
	c.clock.Step(89 * time.Second)
	c.enter(t, "third", 2*time.Hour, throttle.Paused)
	c.silent(t)
	if got, want := c.Zones(), (throttle.State{Zone: zone, Waiting: 3, Paused: 90 * time.Second}); len(got) != 1 || got[0] != want {
		t.Errorf("the state is %v, want %v", got, want)
	}
	if !c.Paused(zone) || c.Paused("https://other") {
		t.Error("the pause is not told, or is another zone's")
	}

	c.clock.Step(time.Second)
	c.next(t, "soon")
	c.enter(t, "soon", time.Minute, throttle.Go)
	c.enter(t, "late", time.Hour, throttle.Paused) // one tries whether it is over
	c.Leave(zone, fine)
	c.next(t, "late")
	c.next(t, "third")
	c.enter(t, "late", time.Hour, throttle.Go)
	c.enter(t, "third", time.Hour, throttle.Go)
}

func TestPausesGrow(t *testing.T) {
	c := newCrowd(1)
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		c.enter(t, "a", 0, throttle.Go)
		c.Leave(zone, throttle.Answer{Answered: true, Throttled: true})
		c.clock.Step(want - time.Nanosecond)
		c.enter(t, "a", 0, throttle.Paused)
		c.clock.Step(time.Nanosecond)
		c.next(t, "a")
	}
	c.enter(t, "a", 0, throttle.Go)
	c.Leave(zone, fine)
	c.enter(t, "a", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true})
	c.clock.Step(time.Second)
	c.enter(t, "a", 0, throttle.Go)
}

// One who tries and never comes back, or did not reach the zone, does not close the gate for good.
func TestLostProbe(t *testing.T) {
	c := newCrowd(4)
	c.enter(t, "a", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true, Pause: time.Second})
	c.clock.Step(time.Second)
	c.enter(t, "lost", 0, throttle.Go)
	c.enter(t, "b", 0, throttle.Paused)
	c.clock.Step(30 * time.Second)
	c.enter(t, "b", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{})
	c.enter(t, "c", 0, throttle.Go)
}

// A long pause does not have a token lapse: with its last two minutes it tries, once in half a minute.
func TestLastChance(t *testing.T) {
	c := newCrowd(4)
	c.enter(t, "a", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true, Pause: time.Hour})
	c.enter(t, "lapses", 2*time.Minute, throttle.Paused) // the zone has just asked
	c.clock.Step(30 * time.Second)
	c.enter(t, "later", time.Hour, throttle.Paused)
	c.enter(t, "over", 0, throttle.Paused) // it has nothing to lose
	if got := c.Enter(zone, "new", start.Add(2*time.Minute), false); got != throttle.Paused {
		t.Fatal("one that has no token tries")
	}
	c.enter(t, "lapses", 2*time.Minute, throttle.Go)
	c.enter(t, "lapses too", 2*time.Minute, throttle.Paused)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true, Pause: time.Hour})
	c.enter(t, "lapses", 2*time.Minute, throttle.Paused)
	c.clock.Step(30 * time.Second)
	c.enter(t, "lapses", 2*time.Minute, throttle.Go)
	c.enter(t, "lapses too", 2*time.Minute, throttle.Paused)
	c.Leave(zone, throttle.Answer{}) // it did not get there
	c.enter(t, "lapses too", 2*time.Minute, throttle.Go)
	c.Leave(zone, fine)
	for _, want := range []string{"over", "new", "later"} {
		c.next(t, want)
	}
	c.enter(t, "later", time.Hour, throttle.Go) // the pause is over
}

// Who does not come any more is not called.
func TestWithdraw(t *testing.T) {
	c := newCrowd(1)
	c.enter(t, "a", 0, throttle.Go)
	c.enter(t, "gone", time.Minute, throttle.Full)
	c.enter(t, "b", time.Hour, throttle.Full)
	c.Withdraw("gone")
	c.Withdraw("unknown")
	c.Leave(zone, fine)
	c.next(t, "b")
}

// Who has to go elsewhere first takes no place meanwhile, waits like the others where there is none, and hands a call on.
func TestAskAndPass(t *testing.T) {
	c := newCrowd(1)
	ask := func(id string, lapses time.Duration, want throttle.Verdict) {
		t.Helper()
		if got := c.Ask(zone, id, start.Add(lapses), lapses > 0); got != want {
			t.Fatalf("%s: the verdict is %d, want %d", id, got, want)
		}
	}
	ask("a", time.Minute, throttle.Go)
	c.enter(t, "b", 0, throttle.Go)
	c.enter(t, "a", time.Minute, throttle.Full)
	ask("c", time.Hour, throttle.Full)
	c.Pass(zone)
	c.silent(t) // there is no room for anybody
	c.Leave(zone, fine)
	c.next(t, "a")
	ask("a", time.Minute, throttle.Go)
	c.silent(t)
	c.Pass(zone)
	c.next(t, "c")

	c.enter(t, "b", 0, throttle.Go)
	c.Leave(zone, throttle.Answer{Answered: true, Throttled: true, Pause: time.Second})
	ask("a", time.Minute, throttle.Paused)
	ask("c", time.Hour, throttle.Paused)
	c.Pass(zone)
	c.silent(t)
	c.clock.Step(time.Second)
	c.next(t, "a")
	ask("a", time.Minute, throttle.Go) // which does not make it the one that tries
	c.enter(t, "c", time.Hour, throttle.Go)
	ask("a", time.Minute, throttle.Paused)
}

// Zones that come and go do not stay for ever; those that somebody is at, waits for, or must not ask, do.
func TestGatesAreForgotten(t *testing.T) {
	c := newCrowd(1)
	c.Enter("https://busy", "a", start, false)
	c.Enter("https://paused", "b", start, false)
	c.Leave("https://paused", throttle.Answer{Answered: true, Throttled: true, Pause: time.Hour})
	for i := range 5000 {
		name := fmt.Sprint("https://z", i)
		c.Enter(name, "c", start, false)
		c.Leave(name, fine)
	}
	if n := len(c.Zones()); n > 1000 {
		t.Errorf("%d gates are left", n)
	}
	if got := c.Enter("https://busy", "d", start, false); got != throttle.Full {
		t.Errorf("the verdict is %d where somebody is", got)
	}
	if !c.Paused("https://paused") {
		t.Error("the pause is forgotten")
	}
}

// Whatever happens in whatever order: never more than the limit, nobody during a pause, and who is in line is called.
func TestRandomCrowds(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + r.IntN(4)
		c := newCrowd(limit)
		var inside []string
		waiting := map[string]bool{}
		try := func(id string) {
			if slices.Contains(inside, id) {
				return
			}
			waiting[id] = c.Enter(zone, id, start.Add(time.Duration(r.IntN(1000))*time.Second), r.IntN(2) == 0) != throttle.Go
			if !waiting[id] {
				inside = append(inside, id)
			}
			if len(inside) > limit {
				t.Fatalf("seed %d: %d at once, limit %d", seed, len(inside), limit)
			}
		}
		leave := func(a throttle.Answer) {
			inside = inside[1:]
			c.Leave(zone, a)
		}
		for range 300 {
			switch n := r.IntN(10); {
			case n < 5:
				try(fmt.Sprint(r.IntN(20)))
			case n < 9 && len(inside) > 0:
				leave(throttle.Answer{Answered: true, Throttled: r.IntN(5) == 0, Pause: time.Duration(r.IntN(3)) * time.Second})
			default:
				c.clock.Step(time.Second)
			}
		}
		// All leave, and each who is called enters and leaves.
		for len(inside) > 0 {
			leave(fine)
		}
		c.clock.Step(2 * time.Minute)
		for slices.Contains(slices.Collect(func(yield func(bool) bool) {
			for _, w := range waiting {
				if !yield(w) {
					return
				}
			}
		}), true) {
			select {
			case id := <-c.called:
				if try(id); slices.Contains(inside, id) {
					leave(fine)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("seed %d: these are never called: %v", seed, waiting)
			}
		}
	}
}
