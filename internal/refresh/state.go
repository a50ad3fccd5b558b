// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"cmp"
	"time"

	"github.com/keycardai/keycard-operator/internal/problem"
)

// Phase is where a binding is between two looks.
type Phase int

// The phases.
const (
	// Idle: nothing is to be done until the token is due, or until a watch reports.
	Idle Phase = iota
	// Due: an attempt is under way.
	Due
	// Queued: the binding waits for its turn at the zone, which calls it.
	Queued
	// BackingOff: an attempt failed, or the zone had nothing newer. The next attempt has a time.
	BackingOff
	// Holding: an attempt failed after the zone had issued a token. The next attempt goes on with that token.
	Holding
)

var phases = [...]string{"Idle", "Due", "Queued", "BackingOff", "Holding"}

// String returns the name of the phase.
func (p Phase) String() string { return phases[p] }

// Stage is the part of a look that a finding belongs to. Each has a condition of its own.
type Stage int

// The stages, in their order.
const (
	NoStage Stage = iota
	StageInstall
	StageToken
	StageSecret
)

// Finding is what keeps a look from its end; its Problem is nil when nothing does.
type Finding struct {
	Problem *problem.Problem
	At      Stage
}

// Token is how far a token has come that is not in the Secret yet.
type Token int

// The tokens that may be held.
const (
	// None: there is no such token.
	None Token = iota
	// Issued: the zone issued it, and its site is not known yet.
	Issued
	// Complete: it has to be written.
	Complete
)

// State is all that is remembered of a binding between two looks, but for the tokens themselves. It is in memory only: the zero
// value is a process that has just started, which tries at once. That is what a person who restarts an operator expects.
type State struct {
	Phase Phase
	// Attempt is the last attempt that did not end in the Secret.
	Attempt Attempt
	// Found is what the present look has found so far.
	Found Finding
	// Layout is what keeps the present token from being laid out anew.
	Layout Layout
	// Again is when to look again because this look could not do its part, and Prevented how many could not in a row.
	Again     time.Time
	Prevented int
	// Owed is a request for a new token that an attempt with other inputs did not honour.
	Owed string
	// Heard is true when a person has acted since the present attempt began.
	Heard bool
	// Issues bound how often tokens are issued, Repairs how often the Secret is put right without a new token, and Returns
	// how often the binding is tried again because a person came back from the zone.
	Issues, Repairs, Returns Budget
}

// Attempt is what is remembered of an attempt that did not end in the Secret. The zero value is none.
type Attempt struct {
	// Inputs are what it depended on.
	Inputs Inputs
	// Failures counts attempts in a row. Wait is until the next one is due.
	Failures int
	Wait     Wait
	// Finding is shown until then. It is empty when the zone had nothing newer.
	Finding
	// Request is the request for a new token that it honours. Its status may not be written yet.
	Request string
	// Renewed is true when it was for another session, whose Secret does not show that any more: the operator has written the
	// session's next refresh token.
	Renewed bool
	// Holds is the token that it left for the next one, which expires at Expires.
	Holds   Token
	Expires time.Time
}

// Layout is what is remembered of a layout that could not be followed.
type Layout struct {
	// Wanted names the layout.
	Wanted   string
	Problem  *problem.Problem
	Failures int
	Wait     Wait
}

// Wait is a pause between two attempts.
type Wait struct{ Since, Until time.Time }

// Over reports whether the pause is over at now. A pause that has not begun yet is: the clock was set back since.
func (w Wait) Over(now time.Time) bool {
	return !now.Before(w.Until) || now.Before(w.Since.Add(-clockTolerance))
}

// WasRefused reports whether the last attempt failed for what a person had to mend. Who the user is and which sites there are may
// have changed by that.
func (s State) WasRefused() bool { return s.Attempt.Problem != nil && !s.Attempt.Problem.Passes() }

// WaitsForNewer reports whether the zone had no newer token and is asked again later than now.
func (s State) WaitsForNewer(now time.Time) bool {
	return s.Attempt.Problem == nil && !s.Attempt.Wait.Over(now)
}

// Unsure returns of which Secrets the values have to be read to know whether the last attempt had the same inputs.
func (s State) Unsure(now Inputs) (client, subject bool) {
	last := s.Attempt.Inputs
	if !s.remembers() || last.Spec != now.Spec {
		return false, false
	}
	return last.Versions.Client != now.Versions.Client && last.Values.Client != "",
		last.Versions.Subject != now.Versions.Subject && last.Values.Subject != ""
}

// Pausing reports whether the next attempt is not due yet.
func (s State) Pausing(f Facts) bool { return s.recall(f).pausing(f) }

// remembers reports whether there is an attempt that did not end in the Secret.
func (s State) remembers() bool { return s.Attempt != Attempt{} }

// sameInputs reports whether the last attempt depended on the same.
func (s State) sameInputs(now Inputs) bool {
	last := s.Attempt.Inputs
	same := func(lastVersion, version, lastValue, value string) bool {
		return lastVersion == version || lastValue != "" && lastValue == value
	}
	return last.Spec == now.Spec &&
		same(last.Versions.Client, now.Versions.Client, last.Values.Client, now.Values.Client) &&
		same(last.Versions.Subject, now.Versions.Subject, last.Values.Subject, now.Values.Subject)
}

// recall drops the last attempt unless it says something about the next one.
func (s State) recall(f Facts) State {
	s.Heard, s.Again, s.Prevented, s.Found = false, time.Time{}, 0, Finding{}
	s.Owed = cmp.Or(s.Attempt.owes(), s.Owed)
	last := s.Attempt
	if last.Holds != None && !last.Expires.After(f.Now) {
		s.Attempt.Holds, s.Attempt.Expires = None, time.Time{}
	}
	switch {
	case !s.remembers():
	case !s.sameInputs(f.Inputs),
		last.Problem == nil && !f.Usable(),
		// The install has done more in the zone since: that may be the remedy.
		last.Problem != nil && last.Problem.Kind == problem.KindPerson && f.Inputs.Progress.Beyond(last.Inputs.Progress):
		s.Attempt = Attempt{}
	default:
		s.Attempt.Inputs.Versions = f.Inputs.Versions
	}
	return s
}

// forget drops what is remembered of attempts: the binding has what it wants, or a watch reports.
func (s State) forget() State {
	s.Phase, s.Attempt, s.Owed, s.Returns = Idle, Attempt{}, "", Budget{}
	return s
}

// owes returns the request for a new token that the attempt could not honour, for a reason that passes.
func (a Attempt) owes() string {
	if a.Problem == nil || !a.Problem.Passes() || a.At != StageToken {
		return ""
	}
	return a.Request
}

// requested reports whether a new token is asked for, or one that was asked for is under way or could not be had yet.
func (s State) requested(f Facts) bool {
	return f.Request != "" || s.Owed != "" || s.Attempt.Request != "" && s.Attempt.Holds != None
}

// renewed reports whether the subject's token may be another than the one that was exchanged.
func (s State) renewed(f Facts) bool { return s.Attempt.Renewed || f.SubjectRenewed }

// pausing reports whether the next attempt is not due yet. A request for a new token does not wait.
func (s State) pausing(f Facts) bool {
	return !s.Attempt.Wait.Over(f.Now) && f.Request == ""
}
