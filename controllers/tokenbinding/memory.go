// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// memory is all that is remembered of one binding between two looks. state and wake are for the holder of the lock of memories; the
// rest is for the goroutine that reconciles the binding.
type memory struct {
	state refresh.State
	// wake is when the binding asked to be looked at, by the clock on the wall; zero when a watch reports. It is unknown until
	// the first look is over.
	wake      time.Time
	wakeKnown bool

	// issued is a token whose site is not known yet, and complete one that is to be written. State says which is held.
	issued   issued
	complete tokensecret.Token
	subject  subject.Memory
	secret   tokensecret.Memory
	binding  ownwrites.Latest[*v1alpha1.ConfluenceTokenBinding]
}

// issued is a token of the zone, and the fingerprint of the subject's token that it was issued for.
type issued struct {
	keycard.Token
	subjectHash string
}

// memories remembers bindings. The zero value is ready for use.
type memories struct {
	mu sync.Mutex
	m  map[types.NamespacedName]*memory
}

// of returns what is remembered of a binding.
func (all *memories) of(key types.NamespacedName) *memory {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.m == nil {
		all.m = map[types.NamespacedName]*memory{}
	}
	if all.m[key] == nil {
		all.m[key] = &memory{}
	}
	return all.m[key]
}

// forget drops what is remembered of a binding that is gone.
func (all *memories) forget(key types.NamespacedName) {
	all.mu.Lock()
	m := all.m[key]
	delete(all.m, key)
	all.mu.Unlock()
	if m != nil {
		m.subject.Release()
	}
}

// state returns the state of a binding.
func (all *memories) state(m *memory) refresh.State {
	all.mu.Lock()
	defer all.mu.Unlock()
	return m.state
}

// step takes a step.
func (all *memories) step(m *memory, f refresh.Facts, e refresh.Event) (refresh.State, refresh.Action) {
	all.mu.Lock()
	defer all.mu.Unlock()
	next, action := refresh.Step(m.state, f, e)
	m.state = next
	return next, action
}

// note remembers when a binding is to be woken.
func (all *memories) note(m *memory, wake time.Time) {
	all.mu.Lock()
	defer all.mu.Unlock()
	m.wake, m.wakeKnown = wake, true
}

// wake returns when a binding asked to be woken, and false when it has not been looked at yet.
func (all *memories) wake(key types.NamespacedName) (at time.Time, known bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if m := all.m[key]; m != nil {
		return m.wake, m.wakeKnown
	}
	return time.Time{}, false
}

// waitsForNewer reports whether the zone had no newer token for a binding and is asked again later.
func (all *memories) waitsForNewer(key types.NamespacedName, now time.Time) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	m := all.m[key]
	return m != nil && m.state.WaitsForNewer(now)
}
