// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/subject"
)

// attempt is what is remembered of an exchange that did not end in the Secret. It is in memory only: a
// restart tries again at once, which is what a person who restarts an operator expects.
type attempt struct {
	// inputs are the versions of all that the attempt depended on, but for those of the Secrets that the user writes; values are
	// what it read of them.
	inputs   string
	versions subject.Secrets
	values   subject.Secrets
	// progress is how far the install had come.
	progress progress
	// failures counts attempts in a row; notBefore is when the next is due, zero when a watch reports.
	failures  int
	notBefore time.Time
	// problem is shown until then.
	problem *problem.Problem
	at      step
	// exchanged is a token that was issued and whose site is not known yet; minted is one that could not be
	// written. The next attempt goes on with them, and does not exchange again.
	exchanged *issued
	minted    *minted
	// asked is the request for a new token that the attempt honours; its status may not be written yet.
	asked string
	// renewed tells that the attempt was for another session, whose Secret does not show that any more: the operator has written
	// the session's next refresh token.
	renewed bool
}

// holdsRequested tells whether a token that somebody asked for waits to be written, or for its site.
func (a attempt) holdsRequested(now time.Time) bool {
	return a.asked != "" && (a.minted != nil && a.minted.ExpiresAt.After(now) || a.exchanged != nil && !lifeOf(a.exchanged.Token).Expired(now))
}

// owes is the request for a new token that the attempt could not honour, for a reason that passes; empty when there is none.
func (a attempt) owes() string {
	if a.problem == nil || !a.problem.Passes() || a.at != stepToken {
		return ""
	}
	return a.asked
}

// pausedBy is what to show during the pause: the problem, or nothing when the zone had nothing newer.
func (a attempt) pausedBy() error {
	if a.problem == nil {
		return nil
	}
	return a.problem
}

// attempts remembers the last failed attempt of each binding. The zero value is ready for use.
type attempts struct {
	mu sync.Mutex
	m  map[types.NamespacedName]attempt
	// early counts reconciles in a row that failed before the attempt was known.
	early map[types.NamespacedName]int
	// issues bound how often tokens are issued for one binding, whatever the reason.
	issues map[types.NamespacedName]*rate.Limiter
	// returns bound how often a binding is tried again because somebody came back from the zone.
	returns map[types.NamespacedName]*rate.Limiter
	// unheard are the bindings that are to be tried again, whose next attempt has not begun.
	unheard map[types.NamespacedName]bool
	// repairs bound how often what is not data of a Secret is put right, which takes no token.
	repairs map[types.NamespacedName]*rate.Limiter
}

// issueBurst is how many tokens may be issued for one binding in quick succession: somebody edits the spec,
// or repairs after tampering. Beyond it there is one each refresh.MinInterval: another program that keeps
// changing the Secret must not turn into a stream of exchanges.
const issueBurst = 4

// mayIssue tells whether another token may be issued now.
func (a *attempts) mayIssue(key types.NamespacedName, now time.Time) bool {
	return a.limiter(&a.issues, key, refresh.MinInterval).TokensAt(now) >= 1
}

// issued counts a token that was issued.
func (a *attempts) issued(key types.NamespacedName, now time.Time) {
	a.limiter(&a.issues, key, refresh.MinInterval).AllowN(now, 1)
}

// mayRepair tells whether a Secret may be put right now without a new token, and counts it.
func (a *attempts) mayRepair(key types.NamespacedName, now time.Time) bool {
	return a.limiter(&a.repairs, key, refresh.MinInterval).AllowN(now, 1)
}

// returnEvery is how often a binding is tried again because somebody came back from the zone, beyond issueBurst: whoever reaches
// the page can say so at any time, and a person may need more than one try.
const returnEvery = 10 * time.Minute

// returned counts that somebody came back from the zone for a binding, and tells whether to believe it.
func (a *attempts) returned(key types.NamespacedName, now time.Time) bool {
	return a.limiter(&a.returns, key, returnEvery).AllowN(now, 1)
}

func (a *attempts) limiter(of *map[types.NamespacedName]*rate.Limiter, key types.NamespacedName, every time.Duration) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if *of == nil {
		*of = map[types.NamespacedName]*rate.Limiter{}
	}
	if (*of)[key] == nil {
		(*of)[key] = rate.NewLimiter(rate.Every(every), issueBurst)
	}
	return (*of)[key]
}

// drop forgets everything of a binding that is gone.
func (a *attempts) drop(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, key)
	delete(a.early, key)
	delete(a.issues, key)
	delete(a.returns, key)
	delete(a.unheard, key)
	delete(a.repairs, key)
}

// failedEarly counts a reconcile that failed before the last attempt was looked up, and gives how many did in a row.
func (a *attempts) failedEarly(key types.NamespacedName) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.early == nil {
		a.early = map[types.NamespacedName]int{}
	}
	a.early[key]++
	return a.early[key]
}

// recalled ends a row of reconciles that failed early. With follow, the last attempt is one with these versions from now on.
func (a *attempts) recalled(key types.NamespacedName, at subject.Secrets, follow bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.early, key)
	if last, ok := a.m[key]; ok && follow {
		last.versions = at
		a.m[key] = last
	}
}

// last gives what is remembered, if it was made with the same inputs.
func (a *attempts) last(key types.NamespacedName, inputs string) (attempt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.unheard, key)
	at, ok := a.m[key]
	if !ok || at.inputs != inputs {
		return attempt{}, false
	}
	return at, true
}

// owed is the request for a new token that the last attempt owes, whatever its inputs were.
func (a *attempts) owed(key types.NamespacedName) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.m[key].owes()
}

// waitsForNewer tells whether the zone had no newer token and is asked again later.
func (a *attempts) waitsForNewer(key types.NamespacedName, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.m[key]
	return ok && at.problem == nil && now.Before(at.notBefore)
}

func (a *attempts) remember(key types.NamespacedName, at attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = map[types.NamespacedName]attempt{}
	}
	if at.problem != nil && at.problem.Kind == problem.KindPerson && a.unheard[key] {
		at.notBefore = time.Time{} // the person was quicker
	}
	a.m[key] = at
}

// forget is for a binding that has what it wants: whoever came back for it until now was right to.
func (a *attempts) forget(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, key)
	delete(a.returns, key)
}

// consented lets a binding that waits for consent be tried again.
func (a *attempts) consented(key types.NamespacedName) bool {
	return a.retry(key, func(p *problem.Problem) bool { return p.Reason == v1alpha1.ReasonConsentRequired })
}

// wake lets a binding be tried again after a failure that a person had to mend, unless that happens too often.
func (a *attempts) wake(key types.NamespacedName, now time.Time) bool {
	if !a.returned(key, now) {
		return false
	}
	a.retry(key, func(p *problem.Problem) bool { return p.Kind == problem.KindPerson })
	return true
}

// retry ends the pause after a failure, if it is one of those, and that after an attempt which is under way. The failure is known
// until another attempt has succeeded.
func (a *attempts) retry(key types.NamespacedName, after func(*problem.Problem) bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unheard == nil {
		a.unheard = map[types.NamespacedName]bool{}
	}
	a.unheard[key] = true
	at, ok := a.m[key]
	if !ok || at.problem == nil || !after(at.problem) {
		return false
	}
	at.notBefore = time.Time{}
	a.m[key] = at
	return true
}
