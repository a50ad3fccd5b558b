// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"cmp"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Step returns the state after an event, and what to do next. It is the only place where it is decided whether to exchange, wait,
// queue, lay out anew, report or give up, and when to look again.
func Step(s State, f Facts, e Event) (State, Action) { //nolint:gocyclo // one case for each event
	switch e.Kind {
	case Looked:
		return s.looked(f)
	case Prevented:
		return s.prevented(f, e).layOut(f)
	case InLine:
		return s.inLine(f, e)
	case Answered:
		return s.answered(f, e)
	case Completed:
		s.Attempt.Holds = Complete
		return s, Action{Verb: Write}
	case Failed:
		return s.failed(f, e)
	case Written:
		s = s.forget()
		s.Layout = Layout{}
		return s.empty(f)
	case LaidOut:
		return s.laidOut(f, e)
	case Emptied:
		if e.Problem != nil && s.Found.Problem == nil {
			s = s.prevented(f, Event{Problem: e.Problem, Stage: StageSecret})
		}
		return s.report(f)
	case Consented:
		return s.heard(func(p *problem.Problem) bool { return p.Reason == v1alpha1.ReasonConsentRequired }), Action{Verb: Look}
	case Returned:
		return s.returned(f)
	}
	return s, Action{Verb: Ignore}
}

// looked decides what a binding needs of which everything is known.
func (s State) looked(f Facts) (State, Action) {
	if f.Suspended {
		s.Phase, s.Found, s.Layout, s.Again, s.Prevented = s.resting(), Finding{}, Layout{}, time.Time{}, 0
		return s.report(f)
	}
	s = s.recall(f)
	honoured := ""
	if f.Request != "" && f.Request == s.Attempt.Request { // the last attempt took it up, and its status was not written
		honoured, f.Request = f.Request, ""
	}
	next, a := s.attempt(f)
	a.Honoured = cmp.Or(a.Honoured, honoured)
	return next, a
}

// attempt decides whether an attempt is made now.
func (s State) attempt(f Facts) (State, Action) {
	why, due := due(f, s)
	switch {
	case !due && s.pausing(f) && s.Attempt.Problem != nil: // it was for a request, or for a Secret that is as it should be again
		s.Phase = s.resting()
		return s.layOut(f)
	case !due:
		return s.forget().layOut(f)
	case s.pausing(f):
		s.Phase, s.Found = s.resting(), s.Attempt.Finding
		return s.layOut(f)
	case s.Attempt.Holds == Complete:
		s.Phase = Due
		return s, Action{Verb: Write}
	case s.Attempt.Holds == Issued:
		s.Phase = Due
		return s, Action{Verb: Finish, Honoured: f.Request}
	case !s.Issues.Ready(f.Now, MinInterval):
		return s.fail(f, Finding{problem.TooManyTokens(string(why), f.Secret, MinInterval), StageToken}, "").layOut(f)
	}
	s.Phase = Due
	return s, Action{Verb: Exchange, Why: why}
}

// resting is the phase of a binding that no attempt is under way for.
func (s State) resting() Phase {
	switch {
	case s.Attempt.Holds != None:
		return Holding
	case s.remembers():
		return BackingOff
	}
	return Idle
}

// prevented spaces out looks that can't do their part, such as while the API server is down. What is remembered of the last attempt
// stays: a token that waits to be written is not lost.
func (s State) prevented(f Facts, e Event) State {
	s.Phase, s.Found, s.Again, s.Heard = s.resting(), Finding{e.Problem, e.Stage}, time.Time{}, false
	s.Prevented++
	if wait := Pause(e.Problem, s.Prevented, f.Remaining(), f.Seed); wait > 0 {
		s.Again = f.Now.Add(wait)
	}
	return s
}

// inLine has a binding wait for its turn, and says nothing of it while that harms no one. Otherwise it shows what the last attempt
// failed for, if it did, or why it waits.
func (s State) inLine(f Facts, e Event) (State, Action) {
	s.Phase = Queued
	quiet := f.HasTime() || !e.Paused && f.Held == nil && !f.HadToken
	switch {
	case quiet && (f.Reported || s.Attempt.Problem == nil && f.HasTime()):
		s.Found = Finding{}
	case s.Attempt.Problem != nil:
		s.Found, quiet = Finding{s.Attempt.Problem, StageToken}, false
	default:
		s.Found, quiet = Finding{e.Problem, StageToken}, false
	}
	s.Again = f.Now.Add(backstop(f, e.Others))
	next, a := s.layOut(f)
	a.Quiet = quiet && f.Reported
	return next, a
}

// answered takes a token that the zone issued.
func (s State) answered(f Facts, e Event) (State, Action) {
	s.Issues = s.Issues.Spend(f.Now, MinInterval)
	if e.Problem != nil {
		return s.fail(f, Finding{e.Problem, StageToken}, f.Request).layOutHonouring(f)
	}
	if !advances(f, s, e.Life) {
		s.Attempt = s.next(f, Attempt{Wait: f.wait(UnchangedRetryAfter(f.Remaining()))}, f.Request)
		s.Phase, s.Owed = BackingOff, "" // the zone has no other token for who asked
		next, a := s.layOutHonouring(f)
		a.Unchanged = true
		return next, a
	}
	s.Attempt.Holds, s.Attempt.Expires = Issued, e.Life.ExpiresAt
	s.Attempt.Request = cmp.Or(f.Request, s.Owed, s.Attempt.Request)
	return s, Action{Verb: Finish, Honoured: f.Request}
}

// failed ends an attempt.
func (s State) failed(f Facts, e Event) (State, Action) {
	found := Finding{e.Problem, e.Stage}
	if e.Stage == StageSecret { // what was requested since the token was issued is the next attempt's
		return s.fail(f, found, "").layOut(f)
	}
	return s.fail(f, found, f.Request).layOutHonouring(f)
}

// layOutHonouring is layOut after an attempt that took up a request.
func (s State) layOutHonouring(f Facts) (State, Action) {
	next, a := s.layOut(f)
	a.Honoured = f.Request
	return next, a
}

// fail remembers a failed attempt, so that no unrelated event cuts its pause short. request is what the attempt took up.
func (s State) fail(f Facts, found Finding, request string) State {
	failures := s.Attempt.Failures + 1
	wait := s.untilRetry(f, found, failures)
	s.Found = found
	if wait == 0 { // a watch reports
		return s.forget()
	}
	// The pause counts from now: what failed by a timeout has waited already, but not in the zone's favour.
	next := Attempt{Failures: failures, Finding: found, Wait: f.wait(wait)}
	if found.Problem.Passes() {
		next.Holds, next.Expires = s.Attempt.Holds, s.Attempt.Expires
	}
	if found.Problem.Kind == problem.KindPerson && s.Heard {
		next.Wait = Wait{} // the person was quicker
	}
	s.Attempt = s.next(f, next, request)
	s.Phase = s.resting()
	return s
}

// next completes an attempt with what it depended on.
func (s State) next(f Facts, a Attempt, request string) Attempt {
	a.Request = cmp.Or(request, s.Owed, s.Attempt.Request)
	a.Renewed = f.Inputs.Session && s.renewed(f)
	a.Inputs = f.Inputs
	a.Inputs.Values = f.Inputs.Values.Or(s.Attempt.Inputs.Values)
	return a
}

// untilRetry is how long a failed attempt makes the next one wait. When the token is about to lapse the zone's gate decides,
// whatever pause the zone asked for.
func (s State) untilRetry(f Facts, found Finding, failures int) time.Duration {
	wait := Pause(found.Problem, failures, f.Remaining(), f.Seed)
	if found.Problem.Kind == problem.KindThrottled && found.At == StageToken && f.Usable() {
		wait = min(wait, max(FloorAt(f.Held.Life).Sub(f.Now), LastChanceEvery))
	}
	return wait
}

// layOut lays the present token out as the spec wants it, even while the next one is not to be had. What keeps it from that has a
// pause of its own: the next token may be hours away.
func (s State) layOut(f Facts) (State, Action) {
	switch {
	case f.laidOut():
		s.Layout = Layout{}
		return s.empty(f)
	case s.Layout.Wanted != f.Layout:
		s.Layout = Layout{Wanted: f.Layout}
	case !s.Layout.Wait.Over(f.Now):
		return s.empty(f)
	}
	if !f.Installed || s.Attempt.Holds == Complete {
		return s.empty(f)
	}
	if f.Held.Layout { // only labels, annotations or the owner are wrong
		if !s.Repairs.Ready(f.Now, MinInterval) {
			return s.laidOut(f, Event{Problem: problem.SecretKeepsChanging(f.Secret, MinInterval)})
		}
		s.Repairs = s.Repairs.Spend(f.Now, MinInterval)
	}
	return s, Action{Verb: LayOut}
}

func (s State) laidOut(f Facts, e Event) (State, Action) {
	if e.Problem == nil {
		s.Layout = Layout{}
		return s.empty(f)
	}
	failures := s.Layout.Failures + 1
	s.Layout = Layout{
		Wanted: f.Layout, Problem: e.Problem, Failures: failures,
		Wait: f.wait(Pause(e.Problem, failures, f.Remaining(), f.Seed)),
	}
	return s.empty(f)
}

// empty takes an expired token out of the Secret, if the user wants that.
func (s State) empty(f Facts) (State, Action) {
	if f.RemoveExpired && !f.Suspended && f.Held != nil && f.Held.Life.Expired(f.Now) {
		return s, Action{Verb: Empty}
	}
	return s.report(f)
}

// report ends a look.
func (s State) report(f Facts) (State, Action) {
	found := s.Found
	if found.Problem == nil && s.Layout.Problem != nil {
		found = Finding{s.Layout.Problem, StageSecret}
	}
	return s, Action{
		Verb: Report, Finding: found, Layout: s.Layout.Problem,
		Wake: s.wake(f), Priority: Priority(f.Deadline(), f.Now),
	}
}

// wake is when something changes by time alone: the refresh, the next attempt, the moment the token stops being ready, its expiry.
func (s State) wake(f Facts) (next time.Time) {
	at := func(t time.Time) {
		if t.After(f.Now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if f.Held != nil {
		at(f.Held.Life.ExpiresAt)
	}
	if f.Suspended {
		return next
	}
	if s.overdue(f) {
		return f.Now
	}
	at(s.Layout.Wait.Until)
	at(s.Again)
	switch {
	case s.Found.Problem != nil && f.Held != nil:
		at(FloorAt(f.Held.Life))
	case f.Held != nil:
		at(f.RefreshAt())
	}
	if s.pauses() {
		at(s.Attempt.Wait.Until)
	}
	return next
}

// overdue reports whether something is to be done now: the token had to wait to be written and is due again, or another one was
// requested meanwhile, or a person was quicker than the attempt.
func (s State) overdue(f Facts) bool {
	_, due := due(f, s)
	return s.Found.Problem == nil && s.Phase == Idle && due ||
		s.pauses() && s.Heard && s.Attempt.Wait.Until.IsZero()
}

// pauses reports whether the next attempt has a time.
func (s State) pauses() bool { return s.Phase == BackingOff || s.Phase == Holding }

// heard ends the pause after a failure, if it is one of those, and that after an attempt which is under way.
func (s State) heard(after func(*problem.Problem) bool) State {
	s.Heard = true
	if s.Attempt.Problem != nil && after(s.Attempt.Problem) {
		s.Attempt.Wait = Wait{}
	}
	return s
}

// ReturnEvery is how often a binding is tried again because a person came back from the zone, after the first few times. Anyone
// who reaches the page can say so at any time, and a person may need more than one try.
const ReturnEvery = 10 * time.Minute

func (s State) returned(f Facts) (State, Action) {
	if !s.Returns.Ready(f.Now, ReturnEvery) {
		return s, Action{Verb: Ignore}
	}
	s.Returns = s.Returns.Spend(f.Now, ReturnEvery)
	return s.heard(func(p *problem.Problem) bool { return p.Kind == problem.KindPerson }), Action{Verb: Look}
}
