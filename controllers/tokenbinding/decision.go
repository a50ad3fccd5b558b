// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"time"

	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// action is what a reconcile has to do about the token.
type action int

const (
	// keep: the Secret is as it should be.
	keep action = iota
	// relayout: the token is good, its files are to be written anew.
	relayout
	// exchange: a token has to be exchanged for.
	exchange
)

// facts is all that the decision depends on.
type facts struct {
	now time.Time
	// uid spreads the refreshes of objects that were created together.
	uid string
	// before is how long before the expiry to refresh; 0 means the usual time.
	before time.Duration
	// held is the token in the Secret; nil when there is none that can be understood.
	held *tokensecret.Held
	// want are the fingerprints of what the spec wants.
	want tokensecret.Wanted
	// renewed is true when the subject's token is another than the one that was exchanged.
	renewed bool
	// intact is false when somebody else changed the Secret's data.
	intact bool
	// requested is true when somebody asks for a new token now.
	requested bool
	// refused is true when Confluence did not take the token.
	refused bool
}

// clockTolerance is how far the clocks of replicas may differ without a new token.
const clockTolerance = time.Minute

// fromLater tells whether a token was received later than now, by a clock that was ahead. It expires sooner than was noted.
func fromLater(life refresh.Life, now time.Time) bool { return life.IssuedAt.Sub(now) > clockTolerance }

// check is one reason to act. Checks run in order and the first that applies decides.
type check struct {
	why     string
	then    action
	applies func(facts) bool
}

// checks is the whole policy. A reconcile for which none applies makes no remote call and no write:
// minting a credential is never a side effect of being reconciled.
var checks = []check{
	{"there is no token yet", exchange, func(f facts) bool { return f.held == nil }},
	{"the spec asks for another token", exchange, func(f facts) bool { return f.held.Made.Exchange != f.want.Exchange }},
	{"the subject's token was renewed", exchange, func(f facts) bool { return f.renewed }},
	{"a refresh was requested", exchange, func(f facts) bool { return f.requested }},
	{"the Secret's data was changed by somebody else", exchange, func(f facts) bool { return !f.intact }},
	{"the token is due for refresh", exchange, func(f facts) bool {
		return !f.now.Before(refresh.RefreshAt(f.held.Life, f.uid, f.before))
	}},
	{"the clock was set back since: when the token expires is not known", exchange, func(f facts) bool {
		return fromLater(f.held.Life, f.now)
	}},
	{"Confluence refuses the token", exchange, func(f facts) bool {
		return f.refused && !f.now.Before(tryAgainAt(f.held.Life, f.uid))
	}},
	{"the spec asks for another layout", relayout, func(f facts) bool { return f.held.Made.Layout != f.want.Layout }},
}

// decide gives the action and why.
func decide(f facts) (action, string) {
	for _, c := range checks {
		if c.applies(f) {
			return c.then, c.why
		}
	}
	return keep, ""
}
