// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"time"
)

// Facts are all that a step depends on besides the state. They are gathered anew before each step.
type Facts struct {
	// Now is the time on the wall.
	Now time.Time
	// Seed spreads what objects that were created together do: the UID.
	Seed string
	// Before is how long before the expiry the user wants the refresh; 0 means the usual time.
	Before time.Duration
	// Held is the token in the Secret; nil when there is none that can be understood.
	Held *Held
	// Installed is true once it is known what to exchange for: the KeycardResource can be used.
	Installed bool
	// Suspended is spec.suspend.
	Suspended bool
	// RemoveExpired is true when the user wants an expired token taken out of the Secret.
	RemoveExpired bool
	// Inputs are what an attempt depends on.
	Inputs Inputs
	// SubjectRenewed is true when the subject's token is another than the one that was exchanged.
	SubjectRenewed bool
	// Request is a request for a new token that status does not show as honoured; empty when there is none.
	Request string
	// Layout names the layout that the spec wants.
	Layout string
	// Secret is the name of the Secret, for messages.
	Secret string
	// Reported is true when status speaks of this spec already, and HadToken when it speaks of a token.
	Reported, HadToken bool
}

// Held is the token in the Secret, compared with what is wanted.
type Held struct {
	Life Life
	// Fits is true when the token is for this spec.
	Fits bool
	// Intact is false when the Secret's data was changed by another program.
	Intact bool
	// Layout is true when the files are laid out as the spec wants, and Dressed when labels, annotations and owner are.
	Layout, Dressed bool
	// Refused is true when Confluence did not take the token.
	Refused bool
}

// Inputs name all that an attempt depends on. Another value ends the pause after a failed attempt.
type Inputs struct {
	// Spec names the versions of the binding and of its install.
	Spec string
	// Versions are the versions of the Secrets that the user writes, and Values fingerprints of what was read of them; empty for
	// what was not read. Tools stamp annotations on Secrets, so another version only says that it is time to look at the value.
	Versions, Values Secrets
	// Progress is how far the install has come with what its spec says of access.
	Progress Progress
	// Session is true when the subject is a session, whose Secret the operator writes too.
	Session bool
}

// Secrets has one string for each Secret that an attempt reads: the application's credential and the subject's token.
type Secrets struct{ Client, Subject string }

// Or returns s with what it lacks taken from other.
func (s Secrets) Or(other Secrets) Secrets {
	if s.Client == "" {
		s.Client = other.Client
	}
	if s.Subject == "" {
		s.Subject = other.Subject
	}
	return s
}

// Progress is how far an install has come with what its spec says of access, for its present generation: 2 for all of it, 1 for
// what goes without a person, 0 while it is not known. It tells when a remedy is in the zone: an edit of the spec wakes the
// bindings before the install's own controller is done with it.
type Progress struct{ Policies, Applications int }

// Beyond reports whether the install has done something since before.
func (p Progress) Beyond(before Progress) bool {
	return p.Policies > before.Policies || p.Applications > before.Applications
}

// Fits reports whether the Secret holds, as the operator wrote it, a token for this spec.
func (f Facts) Fits() bool { return f.Held != nil && f.Held.Intact && f.Held.Fits }

// Usable reports whether the Secret holds a token for this spec that has not expired.
func (f Facts) Usable() bool { return f.Fits() && !f.Held.Life.Expired(f.Now) }

// Refused reports whether Confluence did not take the token in the Secret.
func (f Facts) Refused() bool { return f.Usable() && f.Held.Refused }

// HasTime reports whether the token works, and long enough for a mounted file to follow the next one.
func (f Facts) HasTime() bool { return f.Usable() && f.Now.Before(FloorAt(f.Held.Life)) }

// Remaining returns what is left of a token that works; 0 when there is none.
func (f Facts) Remaining() time.Duration {
	if !f.Usable() {
		return 0
	}
	return f.Held.Life.Remaining(f.Now)
}

// RefreshAt returns when the next token is asked for. There is a token.
func (f Facts) RefreshAt() time.Time {
	at := RefreshAt(f.Held.Life, f.Seed, f.Before)
	if again := tryAgainAt(f.Held.Life, f.Seed); f.Refused() && again.Before(at) {
		return again
	}
	return at
}

// laidOut reports whether nothing of the Secret but its token could be wrong.
func (f Facts) laidOut() bool { return !f.Usable() || f.Held.Layout && f.Held.Dressed }

// clockTolerance is how far the clocks of replicas may differ without a new token.
const clockTolerance = time.Minute

// fromLater reports whether the token was received later than now, by a clock that was ahead. It expires sooner than was noted.
func (f Facts) fromLater() bool { return f.Held.Life.IssuedAt.Sub(f.Now) > clockTolerance }

// tryAgainAt is when a token that Confluence did not take is replaced: a person has to act, so it is as with other refusals.
func tryAgainAt(l Life, seed string) time.Time {
	return l.IssuedAt.Add(SlowRetryAfter(1, seed)).Truncate(time.Second)
}

// wait is a pause of d from now on.
func (f Facts) wait(d time.Duration) Wait { return Wait{Since: f.Now, Until: f.Now.Add(d)} }
