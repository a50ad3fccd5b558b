// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package throttle stands before each zone: it lets only so many requests be under way at once, so that a slow zone does not
// hold all workers, and when a zone asks for a pause it stops everybody, and then lets one through to see whether the pause
// is over. Whoever is not let in waits in line, and those whose time is up first are called first.
package throttle

import (
	"container/heap"
	"maps"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// ProbeEvery is how long one that was let through to try the zone may take, before another is.
const ProbeEvery = 30 * time.Second

const (
	// firstPause and lastPause bound the pause after a zone that throttles without saying for how long. It doubles.
	firstPause, lastPause = time.Second, time.Minute
	// lastChance is what is left of a token when a pause does not hold it back any more: zones ask for pauses of up to an
	// hour, and one request each ProbeEvery is no load.
	lastChance = 2 * time.Minute
	// most is how many gates are kept before those that nobody uses are forgotten: whoever may edit an install names zones.
	most = 1000
)

// Gates has a gate for each zone. Make one with New.
type Gates struct {
	clock clock.WithTickerAndDelayedExecution
	limit int

	mu   sync.Mutex
	m    map[string]*gate
	call func(id string)
}

// New makes gates that let limit requests be under way at each zone.
func New(limit int, c clock.WithTickerAndDelayedExecution) *Gates {
	return &Gates{clock: c, limit: max(limit, 1), m: map[string]*gate{}, call: func(string) {}}
}

// OnCall sets what is done when somebody who waits may come again. It is called without locks held, and may be late: who is
// called may find the gate closed again, and is then in line once more.
func (g *Gates) OnCall(call func(id string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.call = call
}

// gate is the state of one zone.
type gate struct {
	underWay int
	line     line
	// pausedAt and pausedUntil are the bounds of the pause, and probing when somebody was let through to try; zero when the
	// zone is fine.
	pausedAt, pausedUntil, probing time.Time
	// pauses counts pauses in a row, and paused sums up all.
	pauses int
	paused time.Duration
}

// Verdict says whether one may go to the zone.
type Verdict int

// The verdicts.
const (
	// Go: call Leave when done.
	Go Verdict = iota
	// Full: as many as may be are under way.
	Full
	// Paused: the zone asked for a pause.
	Paused
)

// Enter asks to go to a zone. id is who asks, and deadline when it has to have been there, which decides the order in the
// line; lapses tells that a token lapses then. Who may not go is in line, and is called. Who asks again keeps its place, or gets
// a better one.
func (g *Gates) Enter(zone, id string, deadline time.Time, lapses bool) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	z, verdict := g.judge(zone, id, deadline, lapses)
	if verdict != Go {
		return verdict
	}
	if !z.pausedUntil.IsZero() {
		z.probing = g.clock.Now()
	}
	z.line.remove(id)
	z.underWay++
	return Go
}

// Ask is Enter for one who has to go elsewhere first: who may go has no place at the zone yet, and has to enter afterwards, or
// to Pass.
func (g *Gates) Ask(zone, id string, deadline time.Time, lapses bool) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, verdict := g.judge(zone, id, deadline, lapses)
	return verdict
}

// judge puts whoever may not go in line.
func (g *Gates) judge(zone, id string, deadline time.Time, lapses bool) (*gate, Verdict) {
	z := g.of(zone)
	now := g.clock.Now()
	switch {
	case z.closed(now) && (!lapses || !z.mayTry(now, deadline)):
		z.line.add(id, deadline)
		return z, Paused
	case z.underWay >= g.limit:
		z.line.add(id, deadline)
		return z, Full
	}
	return z, Go
}

// Pass calls those in line whom there is room for, because one who was called does not come.
func (g *Gates) Pass(zone string) {
	g.mu.Lock()
	called, call := g.next(g.of(zone)), g.call
	g.mu.Unlock()
	for _, w := range called {
		call(w.id)
	}
}

// Answer is what came of a request that was let go.
type Answer struct {
	// Answered tells that the zone gave any answer.
	Answered bool
	// Throttled tells that it asked for a pause, and Pause for how long; 0 when it did not say.
	Throttled bool
	Pause     time.Duration
}

// Leave ends a request that Enter let go.
func (g *Gates) Leave(zone string, a Answer) {
	g.mu.Lock()
	z := g.of(zone)
	z.underWay--
	switch now := g.clock.Now(); {
	case a.Throttled:
		g.pause(zone, z, a.Pause)
	case now.Before(z.pausedUntil) && z.probing.IsZero(): // it was under way before the zone asked for the pause
	case a.Answered:
		z.pausedUntil, z.probing, z.pauses = time.Time{}, time.Time{}, 0
	default:
		z.probing = time.Time{}
	}
	called, call := g.next(z), g.call
	g.mu.Unlock()
	for _, w := range called {
		call(w.id)
	}
}

// Withdraw takes somebody who does not come any more out of every line.
func (g *Gates) Withdraw(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, z := range g.m {
		z.line.remove(id)
	}
}

// Paused tells whether the zone asked for a pause that lasts, for those who do not wait in line.
func (g *Gates) Paused(zone string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.of(zone).closed(g.clock.Now())
}

// Waiting is how many are in line at a zone.
func (g *Gates) Waiting(zone string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.of(zone).line.Len()
}

// State is what a gate counts.
type State struct {
	Zone string
	// UnderWay are requests at the zone, and Waiting those in line.
	UnderWay, Waiting int
	// Paused is how long the zone asked to be left alone, in all.
	Paused time.Duration
}

// Zones gives the state of every gate there is.
func (g *Gates) Zones() []State {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]State, 0, len(g.m))
	for zone, z := range g.m {
		states = append(states, State{Zone: zone, UnderWay: z.underWay, Waiting: z.line.Len(), Paused: z.paused})
	}
	return states
}

func (g *Gates) of(zone string) *gate {
	if g.m[zone] == nil {
		if len(g.m) >= most {
			maps.DeleteFunc(g.m, func(_ string, z *gate) bool { return z.idle() })
		}
		g.m[zone] = &gate{line: line{at: map[string]*waiter{}}}
	}
	return g.m[zone]
}

// idle tells whether the gate holds nobody and holds nobody up.
func (z *gate) idle() bool { return z.underWay == 0 && z.line.Len() == 0 && z.pausedUntil.IsZero() }

// closed tells whether nobody may pass because of a pause: it lasts, or somebody is trying whether it is over.
func (z *gate) closed(now time.Time) bool {
	return now.Before(z.pausedUntil) || !z.probing.IsZero() && now.Before(z.probing.Add(ProbeEvery))
}

// mayTry tells whether one whose token lapses may try the zone during a pause: nobody did for a while.
func (z *gate) mayTry(now, deadline time.Time) bool {
	left := deadline.Sub(now)
	return left > 0 && left <= lastChance && !now.Before(z.pausedAt.Add(ProbeEvery)) && !now.Before(z.probing.Add(ProbeEvery))
}

// pause closes the gate, for no less than it is closed already, and calls the first in line when it is over.
func (g *Gates) pause(zone string, z *gate, d time.Duration) {
	now := g.clock.Now()
	if z.probing.IsZero() && now.Before(z.pausedUntil) {
		z.pauses-- // several were under way when the zone throttled: that is one pause
	}
	z.pauses++
	d = max(d, min(firstPause<<min(z.pauses-1, 6), lastPause))
	z.pausedAt, z.probing = now, time.Time{}
	if until := now.Add(d); until.After(z.pausedUntil) {
		z.paused += min(d, until.Sub(z.pausedUntil))
		z.pausedUntil = until
		g.clock.AfterFunc(d, func() { go g.Pass(zone) }) // a clock may call with its own lock held
	}
}

// next takes out of the line whoever there is room for.
func (g *Gates) next(z *gate) (called []waiter) {
	if z.closed(g.clock.Now()) {
		return nil
	}
	room := g.limit - z.underWay
	if !z.pausedUntil.IsZero() {
		room = min(room, 1)
	}
	for ; room > 0 && z.line.Len() > 0; room-- {
		called = append(called, z.line.first())
	}
	return called
}

// waiter is somebody in line.
type waiter struct {
	id       string
	deadline time.Time
	index    int
}

// line is a heap of waiters: soonest deadline first.
type line struct {
	order []*waiter
	at    map[string]*waiter
}

func (l *line) add(id string, deadline time.Time) {
	if w := l.at[id]; w != nil {
		if deadline.Before(w.deadline) {
			w.deadline = deadline
			heap.Fix(l, w.index)
		}
		return
	}
	w := &waiter{id: id, deadline: deadline}
	l.at[id] = w
	heap.Push(l, w)
}

func (l *line) remove(id string) {
	if w := l.at[id]; w != nil {
		heap.Remove(l, w.index)
		delete(l.at, id)
	}
}

func (l *line) first() waiter {
	w := *l.order[0]
	l.remove(w.id)
	return w
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (l *line) Len() int { return len(l.order) }

// Less tells which of two comes first.
func (l *line) Less(i, j int) bool { return l.order[i].deadline.Before(l.order[j].deadline) }

// Swap changes the places of two.
func (l *line) Swap(i, j int) {
	l.order[i], l.order[j] = l.order[j], l.order[i]
	l.order[i].index, l.order[j].index = i, j
}

// Push appends a *waiter.
func (l *line) Push(x any) {
	w := x.(*waiter) //nolint:forcetypeassert // only add pushes
	w.index = len(l.order)
	l.order = append(l.order, w)
}

// Pop takes the last away.
func (l *line) Pop() any {
	w := l.order[len(l.order)-1]
	l.order = l.order[:len(l.order)-1]
	return w
}
