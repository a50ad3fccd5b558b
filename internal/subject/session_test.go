// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// A session is forgotten with the last binding that uses it, unless its refresh token is nowhere else.
func TestSessionsAreForgotten(t *testing.T) {
	alice := func(key string) place {
		return place{secret: types.NamespacedName{Namespace: "ns", Name: "alice"}, key: key}
	}
	const zone, key = "https://zone", "refresh_token"
	var all sessions
	var a, b Memory
	first := all.use(&a, zone, alice(key))
	if all.use(&b, zone, alice(key)) != first || all.use(&b, zone, alice("other")) == first {
		t.Fatal("one key of a Secret is not one session")
	}
	if all.use(&b, "https://other", alice(key)) == first {
		t.Fatal("who waits for one zone waits for another")
	}
	all.use(&b, zone, alice(key))
	all.use(&b, zone, alice(key))
	if len(all.m) != 1 {
		t.Errorf("a binding that changed its subject leaves %d sessions", len(all.m))
	}
	a.Release()
	a.Release()
	if all.use(&b, zone, alice(key)) != first || len(all.m) != 1 {
		t.Error("a session was forgotten while a binding uses it")
	}
	b.Release()
	if len(all.m) != 0 {
		t.Errorf("%d sessions are left", len(all.m))
	}
	unsaved := all.use(&a, zone, alice(key))
	unsaved.unsaved = redacted.New("new")
	unsaved.access.AccessToken = redacted.New("access")
	a.Release()
	if got := all.use(&b, zone, alice(key)); got != unsaved || got.unsaved.Reveal() != "new" || !got.access.AccessToken.IsZero() {
		t.Error("a refresh token that was not saved is lost, or the access token is kept")
	}
	unsaved.unsaved = redacted.String{}
	b.Release()
	if len(all.m) != 0 {
		t.Error("a session that was saved at last is left")
	}
}

// What is remembered of a session lapses by the clock on the wall, also when the machine slept.
func TestSessionLapsesByTheWall(t *testing.T) {
	var held session
	now := time.Now()
	held.keep(keycard.Token{ObservedAt: now})
	// The operator compares the monotonic reading too.
	if at := held.access.ObservedAt; !at.Equal(now) || at != at.Round(0) {
		t.Errorf("the token was observed at %s", at)
	}
}

// A token that is refused is forgotten, and not the next one, which another binding has got meanwhile.
func TestForgetAccess(t *testing.T) {
	var held session
	held.access.AccessToken = redacted.New("next")
	held.forgetAccess(redacted.New("refused"))
	if held.access.AccessToken.IsZero() {
		t.Error("the next token is forgotten")
	}
	held.forgetAccess(redacted.New("next"))
	if !held.access.AccessToken.IsZero() {
		t.Error("a token that was refused is kept")
	}
}
