// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

var (
	eventsFlag = flag.Int("events", enough, "how many random events the state machine is driven through")
	seedFlag   = flag.Uint64("seed", 0, "replay one life with this seed; 0 means many")
)

// The state machine of one binding is driven through random lives: the world changes (clock, zone, Secret, spec, install, process,
// person), and after each change everything that has to hold is checked. A life that fails is printed with its seed.
func TestRandomLives(t *testing.T) {
	if *seedFlag != 0 {
		newLife(t, *seedFlag, true).run(eventsPerLife)
		return
	}
	seen := map[transition]map[outcome]bool{}
	for seed := uint64(1); seed <= uint64(*eventsFlag/eventsPerLife) && !t.Failed(); seed++ { // #nosec G115 -- positive
		l := newLife(t, seed, false)
		l.seen = seen
		l.run(eventsPerLife)
	}
	if !t.Failed() && *eventsFlag == enough {
		compareTable(t, seen)
	}
}

const (
	enough        = 1_000_000
	eventsPerLife = 200
)

// answer is how the zone, Atlassian or the cluster answers.
type answer int

const (
	fine answer = iota
	transient
	throttles
	person
	blocked
)

var answers = []answer{fine, transient, throttles, person, blocked}

func (a answer) problem() *problem.Problem {
	switch a {
	case transient:
		return &problem.Problem{Kind: problem.KindTransient, Reason: "Down", Cause: "it is down"}
	case throttles:
		return &problem.Problem{Kind: problem.KindThrottled, RetryAfter: 90 * time.Second, Reason: "Throttled", Cause: "too much"}
	case person:
		return &problem.Problem{Kind: problem.KindPerson, Reason: v1alpha1.ReasonConsentRequired, Cause: "consent"}
	case blocked:
		return &problem.Problem{Kind: problem.KindWaiting, Reason: "Missing", Cause: "it is missing"}
	}
	return nil
}

// life is a binding and its world. It is the controller of the model too: it does what Step says.
type life struct {
	t     *testing.T
	seen  map[transition]map[outcome]bool
	rand  *rand.Rand
	seed  uint64
	trace *strings.Builder

	// The world.
	now                       time.Time
	zone, site, write, layout answer
	install                   answer // fine or blocked
	gateShut, gatePaused      bool
	lifetime                  time.Duration
	cached                    *Life // the zone hands out this token until it is nearly used up; nil when it issues anew each time
	keeps                     bool  // whether it keeps tokens
	spec, subject, layoutSpec int
	edition                   int
	suspended, removes        bool
	request                   int

	// The Secret: the token in it, and of which spec, subject and layout.
	held                  *Held
	heldSpec, heldSubject int
	heldLayout            int
	status                struct{ honoured, reported int }
	hadToken              bool

	// What the process remembers.
	state State
	token *Life // issued, not in the Secret
	wake  time.Time

	// What is checked.
	issued    []time.Time // when the zone issued tokens to this process
	looks     int         // looks since the clock or the world moved
	calm      time.Time   // since when everything is fine and nothing changed
	excused   bool        // whether the token that waits to be written may be dropped
	refusedAt time.Time   // the last refusal, if nothing has changed since that could be its remedy
	refused   answer
	failures  int
	asked     bool // a new token was asked for, and the zone has neither issued one since nor refused for good
}

func newLife(t *testing.T, seed uint64, verbose bool) *life {
	l := &life{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 7)),
		now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), lifetime: time.Hour,
	}
	if verbose {
		l.trace = &strings.Builder{}
	}
	l.calm = l.now
	return l
}

func (l *life) log(format string, args ...any) {
	if l.trace != nil {
		fmt.Fprintf(l.trace, "%s %s\n", l.now.Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
}

func (l *life) fail(format string, args ...any) {
	l.t.Helper()
	l.t.Errorf("seed %d, %s: %s (state %+v)", l.seed, l.now.Format(time.TimeOnly), fmt.Sprintf(format, args...), l.state)
	if l.trace != nil {
		l.t.Log("\n" + l.trace.String())
	}
}

func (l *life) run(events int) {
	l.look("made")
	for range events {
		if l.t.Failed() {
			return
		}
		l.happen()
	}
	l.mend()
}

// step takes one, and notes the transition.
func (l *life) step(f Facts, e Event) (State, Action) {
	next, a := Step(l.state, f, e)
	if at := (transition{l.state.Phase, e.Kind}); l.seen != nil {
		if l.seen[at] == nil {
			l.seen[at] = map[outcome]bool{}
		}
		l.seen[at][outcome{next.Phase, a.Verb}] = true
	}
	l.state = next
	return next, a
}

// outcome is what a step leads to.
type outcome struct {
	to   Phase
	verb Verb
}

// transition is a state and an event.
type transition struct {
	from  Phase
	event Kind
}

// facts are gathered from the world.
func (l *life) facts() Facts {
	f := Facts{
		Now: l.now, Seed: "uid", Installed: l.install == fine, Suspended: l.suspended, RemoveExpired: l.removes,
		Layout: strconv.Itoa(l.layoutSpec), Secret: "token", Reported: l.status.reported == l.spec, HadToken: l.hadToken,
		Inputs: Inputs{Spec: strconv.Itoa(l.spec) + "/" + strconv.Itoa(l.edition) + "/" + strconv.Itoa(int(l.install)), Versions: Secrets{Subject: strconv.Itoa(l.subject)}},
	}
	if l.request != l.status.honoured {
		f.Request = strconv.Itoa(l.request)
	}
	if l.held != nil {
		h := *l.held
		h.Fits, h.Layout = l.heldSpec == l.spec, l.heldLayout == l.layoutSpec
		f.Held = &h
		f.SubjectRenewed = l.heldSubject != l.subject
	}
	return f
}

// healthy reports whether nothing in the world keeps a token from the Secret.
func (l *life) healthy() bool {
	return l.zone == fine && l.site == fine && l.write == fine && l.layout == fine && l.install == fine &&
		!l.gateShut && !l.gatePaused && !l.suspended
}

// happen changes the world at random, and looks where a watch or the clock would have the binding looked at.
func (l *life) happen() {
	changes := []struct {
		name   string
		change func()
		watch  bool // whether a watch reports it
	}{
		{"the clock goes on to the next wake", func() { l.advance(time.Duration(1<<62), true) }, false},
		{"the clock goes on a little", func() { l.advance(time.Duration(l.rand.Int64N(int64(90*time.Second))), false) }, false},
		{"the clock goes on long", func() { l.advance(time.Duration(l.rand.Int64N(int64(2*time.Hour))), false) }, false},
		{"the clock is set back", func() { l.now = l.now.Add(-time.Duration(l.rand.Int64N(int64(time.Hour)))); l.issued = nil; l.excuse() }, true},
		{"the zone answers otherwise", func() { l.zone = answers[l.rand.IntN(4)] }, false},
		{"the zone is well", func() { l.zone = fine }, false},
		{"Atlassian answers otherwise", func() { l.site = answers[l.rand.IntN(4)] }, false},
		{"Atlassian is well", func() { l.site = fine }, false},
		{"writes are answered otherwise", func() { l.write = answers[l.rand.IntN(3)]; l.layout = l.write }, false},
		{"writes are well", func() { l.write, l.layout = fine, fine }, false},
		{"the install changes", func() { l.install = []answer{fine, blocked}[l.rand.IntN(2)]; l.excuse() }, true},
		{"the install is well", func() { l.install = fine; l.excuse() }, true},
		{"the gate shuts or opens", func() { l.gateShut = !l.gateShut; l.gatePaused = false }, true},
		{"the zone asks for a pause, or it is over", func() { l.gatePaused = !l.gatePaused; l.gateShut = false }, true},
		{"the spec changes", func() { l.spec++; l.excuse() }, true},
		{"the install is edited, in what no token depends on", func() { l.edition++; l.excuse() }, true},
		{"the subject's token changes", func() { l.subject++; l.excuse() }, true},
		{"the layout changes", func() { l.layoutSpec++ }, true},
		{"it is suspended or resumed", func() { l.suspended = !l.suspended; l.spec++; l.spec--; l.excuse() }, true},
		{"the Secret is deleted", func() { l.held, l.calm = nil, l.now }, true},
		{"the Secret is tampered with", func() { l.tamper(func(h *Held) { h.Intact = false }) }, true},
		{"the Secret's labels are tampered with", func() { l.tamper(func(h *Held) { h.Dressed = false }) }, true},
		{"Confluence refuses the token", func() { l.tamper(func(h *Held) { h.Refused = true }) }, true},
		{"a new token is requested", func() { l.request++; l.asked, l.calm = true, l.now }, true},
		{"the process restarts", func() { l.excuse(); l.state, l.token, l.issued, l.asked = State{}, nil, nil, false }, true},
		{"a person consents, and the zone's grants show it", func() { l.hear(Consented) }, false},
		{"a person returns from the page", func() { l.hear(Returned) }, false},
		{"an expired token is to be removed, or not any more", func() { l.removes = !l.removes }, true},
		{"the zone's tokens live otherwise", func() {
			l.lifetime = []time.Duration{30 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour}[l.rand.IntN(4)]
			l.keeps, l.cached = l.rand.IntN(3) == 0, nil
		}, false},
		{"nothing, but somebody looks", func() {}, true},
	}
	c := changes[l.rand.IntN(len(changes))]
	l.log("-- %s", c.name)
	before := l.now
	wasHealthy := l.healthy()
	c.change()
	l.looks = 0
	if !l.healthy() || !wasHealthy {
		l.calm = l.now
	}
	if c.watch {
		l.look(c.name)
	}
	if l.now.Before(before) {
		l.wake = time.Time{}
		l.look("the watchdog after a clock that was set back")
	}
	l.check()
}

// excuse is called when a change makes another attempt reasonable, or makes a held back token useless.
func (l *life) excuse() { l.refusedAt, l.failures, l.excused, l.calm = time.Time{}, 0, true, l.now }

func (l *life) tamper(how func(*Held)) {
	if l.calm = l.now; l.held != nil {
		how(l.held)
	}
}

func (l *life) hear(kind Kind) {
	_, a := l.step(Facts{Now: l.now}, Event{Kind: kind})
	if a.Verb == Look {
		if kind == Consented && l.zone == person {
			l.zone = fine
		}
		l.refusedAt = time.Time{}
		l.look("a person acted")
	}
}

// advance lets time pass, and looks whenever the binding asked to be woken.
func (l *life) advance(d time.Duration, onlyToWake bool) {
	until := l.now.Add(min(d, 48*time.Hour))
	for steps := 0; !l.wake.IsZero() && !l.wake.After(until); steps++ {
		if steps > 20_000 {
			l.fail("woken too often")
			return
		}
		if l.wake.After(l.now) {
			l.now, l.looks = l.wake, 0
		}
		l.look("woken")
		if onlyToWake || l.t.Failed() {
			return
		}
		if l.check(); l.t.Failed() {
			return
		}
	}
	if !onlyToWake {
		l.now = until
	}
}

// look is the controller: it gathers, and does what Step says until it reports.
func (l *life) look(why string) {
	if l.looks++; l.looks > 3 {
		l.fail("a hot loop: looked at again and again at the same time (%s)", why)
		return
	}
	e := Event{Kind: Looked}
	if l.install != fine {
		e = Event{Kind: Prevented, Problem: &problem.Problem{Kind: problem.KindWaiting, Reason: "NotReady", Cause: "not ready"}, Stage: StageInstall}
	}
	if l.suspended {
		e = Event{Kind: Looked}
	}
	hadToken, acted := l.token, false
	for range 8 {
		f := l.facts()
		before := l.state
		switch {
		case e.Kind == Failed && l.rand.IntN(20) == 0:
			l.aborted(e)
			return
		case l.state.Phase == Due && l.rand.IntN(50) == 0:
			_, heard := l.step(Facts{Now: l.now}, Event{Kind: []Kind{Consented, Returned}[l.rand.IntN(2)]})
			acted = acted || heard.Verb == Look && e.Kind != Looked && e.Kind != Prevented
			l.refusedAt = time.Time{}
		}
		next, a := l.step(f, e)
		l.log("%s: %v -> verb %d why %q found %+v wake %s phase %d->%d", why, e.Kind, a.Verb, a.Why, a.Finding, a.Wake.Format(time.TimeOnly), before.Phase, next.Phase)
		if a.Honoured != "" {
			l.status.honoured = l.request
			l.asked = l.asked && a.Verb != Finish // the token that waits for its site will do
		}
		if next.Attempt.Holds == None && a.Verb != Write && a.Verb != Finish {
			l.drop(f, hadToken, a)
		}
		if a.Verb == Report {
			if refused := l.state.Phase == BackingOff && a.Problem != nil && a.Problem.Kind == problem.KindPerson; acted && refused && !a.Wake.Equal(l.now) {
				l.fail("a person acted during the attempt that was refused, and it is not tried again at once")
			}
			l.report(f, a)
			return
		}
		e = l.act(f, a)
	}
	l.fail("a look that does not end")
}

// aborted is a look that ends amid an attempt: the operator is told to stop, and another process goes on.
func (l *life) aborted(e Event) {
	l.log("stopped before the event %s", e.Kind)
	l.excuse()
	l.looks, l.install = 0, []answer{fine, fine, blocked}[l.rand.IntN(3)]
	if l.rand.IntN(2) == 0 {
		l.state, l.token, l.issued, l.asked = State{}, nil, nil, false
	}
	l.look("another process goes on")
}

// drop checks that no token is thrown away that would have been written.
func (l *life) drop(_ Facts, had *Life, a Action) {
	if had != nil && l.token != nil && l.token == had && had.ExpiresAt.After(l.now) && a.Verb == Exchange && !l.excused {
		l.fail("exchanges again although a token waits to be written")
	}
	l.token = nil
}

func (l *life) act(f Facts, a Action) Event {
	switch a.Verb {
	case Exchange:
		return l.exchange(f)
	case Finish:
		if p := l.site.problem(); p != nil {
			if !p.Passes() {
				l.note(l.site)
			}
			return Event{Kind: Failed, Problem: p, Stage: StageToken}
		}
		return Event{Kind: Completed}
	case Write:
		if l.token == nil || !l.token.ExpiresAt.After(l.now) {
			l.fail("is to write a token that is not there, or has expired")
		}
		if p := l.write.problem(); p != nil {
			return Event{Kind: Failed, Problem: p, Stage: StageSecret}
		}
		l.held = &Held{Life: *l.token, Intact: true, Dressed: true}
		l.heldSpec, l.heldSubject, l.heldLayout, l.hadToken = l.spec, l.subject, l.layoutSpec, true
		l.token, l.refusedAt, l.failures = nil, time.Time{}, 0
		return Event{Kind: Written}
	case LayOut:
		p := l.layout.problem()
		if p == nil {
			l.held.Dressed, l.heldLayout = true, l.layoutSpec
		}
		return Event{Kind: LaidOut, Problem: p}
	case Empty:
		p := l.write.problem()
		if p == nil {
			l.held = nil
		}
		return Event{Kind: Emptied, Problem: p}
	}
	l.fail("no such verb %d", a.Verb)
	return Event{}
}

func (l *life) exchange(f Facts) Event {
	if l.gateShut || l.gatePaused {
		return Event{Kind: InLine, Problem: &problem.Problem{Kind: problem.KindWaiting, Reason: "Throttled", Cause: "in line"}, Others: 3, Paused: l.gatePaused}
	}
	l.checkExchange(f)
	if p := l.zone.problem(); p != nil {
		l.asked = l.asked && p.Passes()
		l.note(l.zone)
		return Event{Kind: Failed, Problem: p, Stage: StageToken}
	}
	life := NewLife(l.now, l.lifetime)
	if l.keeps && l.cached != nil && l.cached.Remaining(l.now) > 30*time.Second {
		life = *l.cached
		life.IssuedAt = l.now.UTC().Truncate(time.Second)
	}
	l.cached = &life
	l.issued, l.refusedAt, l.asked = append(l.issued, l.now), time.Time{}, false
	l.token, l.excused = &life, false
	return Event{Kind: Answered, Life: life}
}

// note remembers a refusal.
func (l *life) note(a answer) {
	if l.failures++; !l.state.Heard { // a person who acted meanwhile may have remedied it
		l.refusedAt, l.refused = l.now, a
	}
}

// checkExchange checks that an exchange is not too soon after the one before.
func (l *life) checkExchange(f Facts) {
	if !l.refusedAt.IsZero() && f.Request == "" && !l.now.Before(l.refusedAt) {
		least := map[answer]time.Duration{transient: time.Second, throttles: LastChanceEvery, person: 10 * time.Minute}[l.refused]
		if since := l.now.Sub(l.refusedAt); since < least {
			l.fail("exchanges %s after a refusal of kind %d", since, l.refused)
		}
	}
	recent := 0
	for _, at := range l.issued {
		if since := l.now.Sub(at); since >= 0 && since < time.Minute {
			recent++
		}
	}
	if recent >= burst+int(time.Minute/MinInterval) {
		l.fail("the zone issued %d tokens within a minute", recent)
	}
}

// report takes what a look ended with.
func (l *life) report(f Facts, a Action) {
	l.wake = a.Wake
	if !a.Quiet {
		l.status.reported = l.spec
	}
	if !a.Wake.IsZero() && a.Wake.Before(l.now) {
		l.fail("wants to be woken in the past, at %s", a.Wake)
	}
	if _, again := due(f, l.state); a.Wake.Equal(l.now) && !l.state.Heard && !again {
		l.fail("wants to be woken at once")
	}
	if f.Held != nil && !l.suspended && a.Wake.IsZero() && !f.Held.Life.Expired(l.now) {
		l.fail("holds a token and does not want to be woken")
	}
	if f.Usable() && a.Problem == nil && !l.suspended && a.Wake.After(maxTime(l.now, f.RefreshAt(), l.state.Attempt.Wait.Until, l.state.Again)) {
		l.fail("wakes at %s, after the refresh at %s", a.Wake, f.RefreshAt())
	}
	if l.state.Phase == Due {
		l.fail("a look that ended amid an attempt")
	}
	if (l.state.Phase == Holding) != (l.state.Attempt.Holds != None) && a.At != StageInstall && !l.suspended {
		l.fail("phase and token disagree")
	}
}

// check is made after each change and each look by time: what has to hold while the world is fine.
func (l *life) check() {
	if !l.healthy() || l.t.Failed() {
		return
	}
	f := l.facts()
	// A token that was due for longer than the longest pause, in a world that was fine all that time, is replaced.
	late := l.now.Sub(l.calm)
	if late > 12*time.Minute && !l.keeps && l.lifetime >= 5*time.Minute && l.wakeMissed() {
		l.fail("nobody looks although the wake at %s is over", l.wake)
	}
	if late > 12*time.Minute && l.asked {
		l.fail("a request for a new token is not honoured after %s in which everything was fine", late)
	}
	if late > 30*time.Minute && !f.Usable() && !l.keeps && l.lifetime > 12*time.Minute {
		l.fail("no token that works after %s in which everything was fine", late)
	}
}

func (l *life) wakeMissed() bool { return !l.wake.IsZero() && l.now.Sub(l.wake) > time.Second }

// mend ends all faults. Whatever the state, the binding has what it wants before long.
func (l *life) mend() {
	if l.t.Failed() {
		return
	}
	l.log("-- everything is mended")
	watched := l.install != fine || l.suspended || l.gateShut || l.gatePaused
	l.zone, l.site, l.write, l.layout, l.install = fine, fine, fine, fine, fine
	l.gateShut, l.gatePaused, l.suspended, l.keeps, l.cached, l.lifetime = false, false, false, false, nil, time.Hour
	if l.looks = 0; watched {
		l.look("mended")
	}
	if l.state.Phase == Idle && l.wake.IsZero() {
		l.look("mended, and a watch reports") // what it waited for came back
	}
	asked := l.request != l.status.honoured
	l.advance(15*time.Minute, false)
	f := l.facts()
	switch {
	case l.t.Failed():
	case !f.Usable():
		l.fail("no token that works after everything was mended")
	case l.state.Phase != Idle && !l.state.WaitsForNewer(l.now) || f.Request != "" && asked || l.state.Owed != "":
		l.fail("does not come to rest: request %q", f.Request)
	case !f.laidOut():
		l.fail("the layout is not followed")
	case l.asked:
		l.fail("a request for a new token was lost")
	case f.SubjectRenewed:
		l.fail("the subject's new token is not used")
	}
}

func maxTime(times ...time.Time) (latest time.Time) {
	for _, t := range times {
		if t.After(latest) {
			latest = t
		}
	}
	return latest
}

// compareTable checks that the table in the package comment lists each transition that random lives take. A rare
// one may be listed and not taken.
func compareTable(t *testing.T, seen map[transition]map[outcome]bool) {
	t.Helper()
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[transition][]string{}
	for line := range strings.Lines(string(comment)) {
		cells := strings.Split(strings.TrimPrefix(strings.TrimSpace(line), "//	"), "|")
		if len(cells) != 3 {
			continue
		}
		from, event := slices.Index(phases[:], strings.TrimSpace(cells[0])), slices.Index(kinds[:], strings.TrimSpace(cells[1]))
		if from < 0 || event < 0 {
			continue
		}
		for text := range strings.SplitSeq(cells[2], ",") {
			at := transition{Phase(from), Kind(event)}
			listed[at] = append(listed[at], strings.TrimSpace(text))
		}
	}
	for from := range phases {
		for event := range kinds {
			at := transition{Phase(from), Kind(event)}
			if len(seen[at]) == 0 {
				if !slices.Equal(listed[at], []string{"-"}) {
					t.Errorf("the table in doc.go has %q for %s and %s, which random lives don't meet", listed[at], at.from, at.event)
				}
				continue
			}
			for o := range seen[at] {
				if text := o.to.String() + " " + o.verb.String(); !slices.Contains(listed[at], text) {
					t.Errorf("the table in doc.go lacks %q for %s and %s", text, at.from, at.event)
				}
			}
		}
	}
}
