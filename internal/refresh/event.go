// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"time"

	"github.com/keycardai/keycard-operator/internal/problem"
)

// Kind is what happened.
type Kind int

// The events. Each comes with the fields of Event that its comment names.
const (
	// Looked: everything was gathered.
	Looked Kind = iota
	// Prevented: gathering came to Stage and met Problem.
	Prevented
	// InLine: the binding waits for its turn at the zone, with Others. Problem says so.
	InLine
	// Answered: the zone issued a token that lives Life. Problem says why the token can't be used, if so.
	Answered
	// Completed: the site of the token is known.
	Completed
	// Failed: the attempt failed at Stage for Problem.
	Failed
	// Written: the new token is in the Secret.
	Written
	// LaidOut: the present token was written anew, or not for Problem.
	LaidOut
	// Emptied: the expired token was taken out of the Secret, or not for Problem.
	Emptied
	// Consented: the zone shows a new grant of the person.
	Consented
	// Returned: a person came back from the consent page.
	Returned
)

var kinds = [...]string{"Looked", "Prevented", "InLine", "Answered", "Completed", "Failed", "Written", "LaidOut", "Emptied", "Consented", "Returned"}

// String returns the name of the event.
func (k Kind) String() string { return kinds[k] }

// Event is something that happened to a binding.
type Event struct {
	Kind    Kind
	Problem *problem.Problem
	Stage   Stage
	Life    Life
	// Others is how many wait in the same line.
	Others int
	// Paused is true when the zone asked for a pause, and not just for a turn.
	Paused bool
}

// Verb is what to do next.
type Verb int

// The verbs. All but the last two are followed by another step, with the event that came of it.
const (
	// Exchange: ask the zone for a token. Answered, InLine or Failed comes of it.
	Exchange Verb = iota + 1
	// Finish: find the site of the token that the zone issued. Completed or Failed comes of it.
	Finish
	// Write: write the complete token into the Secret. Written or Failed comes of it.
	Write
	// LayOut: write the present token anew. LaidOut comes of it.
	LayOut
	// Empty: take the expired token out of the Secret. Emptied comes of it.
	Empty
	// Report: write status. The look is over.
	Report
	// Look: reconcile the binding at once.
	Look
	// Ignore: do nothing.
	Ignore
)

var verbs = [...]string{"", "Exchange", "Finish", "Write", "LayOut", "Empty", "Report", "Look", "Ignore"}

// String returns the name of the verb.
func (v Verb) String() string { return verbs[v] }

// Action is what to do.
type Action struct {
	Verb Verb
	// Why is the reason of an exchange.
	Why Why
	// Honoured is the request for a new token that the attempt takes up; empty when there is none.
	Honoured string
	// Unchanged is true when the zone's token lives no longer than the present one.
	Unchanged bool
	// Finding is what to report, and Layout what keeps the present token from being laid out anew.
	Finding
	Layout *problem.Problem
	// Quiet is true when there is nothing to report: the binding waits for others, which harms no one.
	Quiet bool
	// Wake is when to look again; zero when a watch reports.
	Wake time.Time
	// Priority is that of the next look in the queue.
	Priority int
}
