// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package problem is the one place where what went wrong is turned into what happens next: which
// reason and message a condition shows, who has to move, and when to try again.
//
// The constructors are the catalogue of all messages. A message says what is wrong, then what to do, and the words of a
// remote side last. It is the same at each attempt, so that status is not written again.
package problem

import (
	"fmt"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Kind says who moves next.
type Kind int

// The kinds.
const (
	// KindWaiting is for something in the cluster that a watch will report. It is not retried.
	KindWaiting Kind = iota + 1
	// KindBlocked is for something that a person has to mend in the cluster. A watch reports it, so it is not
	// retried either.
	KindBlocked
	// KindPerson is for something that a person has to mend outside of the cluster. It is retried slowly,
	// because no watch sees the outside.
	KindPerson
	// KindTransient passes by itself. It is retried with backoff.
	KindTransient
	// KindThrottled passes after the pause that the server asked for.
	KindThrottled
)

// Problem is why a step could not go on. Get one from a constructor of the catalogue.
type Problem struct { //nolint:errname // it is a finding about an object that steps also return as an error
	Kind Kind
	// Reason is one of the Reason constants of the API.
	Reason string
	// Cause says what is wrong, in a sentence without a full stop.
	Cause string
	// Remedy says what to do about it: one or two such sentences.
	Remedy string
	// Detail is in the words of another: the zone's, Atlassian's or a client's. It is cleaned and holds no secret.
	Detail string
	// RetryAfter is the pause a throttling server asked for.
	RetryAfter time.Duration
}

// Message is what a condition shows.
func (p *Problem) Message() string {
	message := p.Cause
	if p.Remedy != "" {
		message += ". " + p.Remedy
	}
	if p.Detail != "" {
		message += ". Details: " + p.Detail
	}
	return message
}

// Error makes a Problem an error, so that steps return it as one.
func (p *Problem) Error() string { return p.Reason + ": " + p.Message() }

// Stalls reports whether nothing moves until a person does something.
func (p *Problem) Stalls() bool { return p.Kind == KindBlocked || p.Kind == KindPerson }

// Passes reports whether it passes by itself.
func (p *Problem) Passes() bool { return p.Kind == KindTransient || p.Kind == KindThrottled }

func waiting(reason, cause, remedy string) *Problem {
	return &Problem{Kind: KindWaiting, Reason: reason, Cause: cause, Remedy: remedy}
}

func blocked(reason, cause, remedy string) *Problem {
	return &Problem{Kind: KindBlocked, Reason: reason, Cause: cause, Remedy: remedy}
}

func needsPerson(reason, cause, remedy string) *Problem {
	return &Problem{Kind: KindPerson, Reason: reason, Cause: cause, Remedy: remedy}
}

func passing(reason, cause, remedy string) *Problem {
	return &Problem{Kind: KindTransient, Reason: reason, Cause: cause, Remedy: remedy}
}

func throttled(after time.Duration, cause, remedy string) *Problem {
	return &Problem{Kind: KindThrottled, RetryAfter: after, Reason: v1alpha1.ReasonThrottled, Cause: cause, Remedy: remedy}
}

// quoting adds the words of an error, which have to be stable and free of secrets.
func (p *Problem) quoting(err error) *Problem {
	if err != nil {
		p.Detail = err.Error()
	}
	return p
}

// say builds a sentence.
func say(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// list names the first few of many.
func list(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// retries is the remedy for what passes by itself, and check what to look at when it does not.
func retries(check string) string { return "The operator retries. If this lasts, check " + check }
