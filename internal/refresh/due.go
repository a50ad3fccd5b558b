// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

// Why is why a token is exchanged for.
type Why string

// The reasons, in the order in which they are looked for.
const (
	NoToken       Why = "there is no token yet"
	SpecChanged   Why = "the spec asks for another token"
	SubjectIsNew  Why = "the subject's token was renewed"
	Requested     Why = "a refresh was requested"
	Tampered      Why = "another program changed the Secret's data"
	DueForRefresh Why = "the token is due for refresh"
	ClockSetBack  Why = "the clock was set back, so that the expiry is not known"
	NotAccepted   Why = "Confluence refuses the token"
)

// reasons is the whole policy of exchanging. A look for which none applies makes no remote call: minting a credential is never a
// side effect of being reconciled.
var reasons = []struct {
	why     Why
	applies func(Facts, State) bool
}{
	{NoToken, func(f Facts, _ State) bool { return f.Held == nil }},
	{SpecChanged, func(f Facts, _ State) bool { return !f.Held.Fits }},
	{SubjectIsNew, func(f Facts, s State) bool { return s.renewed(f) }},
	{Requested, func(f Facts, s State) bool { return s.requested(f) }},
	{Tampered, func(f Facts, _ State) bool { return !f.Held.Intact }},
	{DueForRefresh, func(f Facts, _ State) bool { return !f.Now.Before(RefreshAt(f.Held.Life, f.Seed, f.Before)) }},
	{ClockSetBack, func(f Facts, _ State) bool { return f.fromLater() }},
	{NotAccepted, func(f Facts, _ State) bool {
		return f.Refused() && !f.Now.Before(tryAgainAt(f.Held.Life, f.Seed))
	}},
}

// due returns why a token is to be exchanged for, and false when none is.
func due(f Facts, s State) (Why, bool) {
	for _, r := range reasons {
		if r.applies(f, s) {
			return r.why, true
		}
	}
	return "", false
}

// sameExpiry is how far two expiries of one token may differ, which are known in whole seconds only: two seconds.
const sameExpiry = 2e9

// advances reports whether a token of the given life is worth writing. Zones keep upstream tokens until they are nearly used up,
// so one may live no longer than the present one. In the place of a token that Confluence refuses, or whose expiry is not known,
// any is welcome. Who asks for another takes what there is, unless it is the same one.
func advances(f Facts, s State, life Life) bool {
	if !f.Usable() || f.Refused() || s.renewed(f) || f.fromLater() {
		return true
	}
	gain := life.ExpiresAt.Sub(f.Held.Life.ExpiresAt)
	if s.requested(f) {
		gain = gain.Abs()
	}
	return gain > sameExpiry
}
