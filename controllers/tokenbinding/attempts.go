// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/internal/outcome"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// attempt is what is remembered of an exchange that did not end in the Secret. It is in memory only: a
// restart tries again at once, which is what a person who restarts an operator expects.
type attempt struct {
	// inputs are the versions of all that the attempt depended on.
	inputs string
	// failures counts attempts in a row; notBefore is when the next is due, zero when a watch reports.
	failures  int
	notBefore time.Time
	// problem is shown until then.
	problem *outcome.Problem
	// minted is a token that was issued and could not be written. It is written, not exchanged for again.
	minted *tokenfile.Token
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
}

// last gives what is remembered, if it was made with the same inputs.
func (a *attempts) last(key types.NamespacedName, inputs string) (attempt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.m[key]
	if !ok || at.inputs != inputs {
		return attempt{}, false
	}
	return at, true
}

func (a *attempts) remember(key types.NamespacedName, at attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = map[types.NamespacedName]attempt{}
	}
	a.m[key] = at
}

func (a *attempts) forget(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, key)
}
