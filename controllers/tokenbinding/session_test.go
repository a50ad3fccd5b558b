// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// A session is forgotten with the last binding that uses it, unless its refresh token is nowhere else.
func TestSessionsAreForgotten(t *testing.T) {
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: n} }
	const zone = "https://zone"
	var s sessions
	a, b := name("a"), name("b")
	first := s.of(a, zone, name("alice"), "refresh_token")
	if s.of(b, zone, name("alice"), "refresh_token") != first || s.of(b, zone, name("alice"), "other") == first {
		t.Fatal("one key of a Secret is not one session")
	}
	if s.of(b, "https://other", name("alice"), "refresh_token") == first {
		t.Fatal("who waits for one zone waits for another")
	}
	s.of(b, zone, name("alice"), "refresh_token")
	if len(s.m) != 1 {
		t.Errorf("a binding that changed its subject leaves %d sessions", len(s.m))
	}
	s.drop(a)
	s.drop(a)
	if s.of(b, zone, name("alice"), "refresh_token") != first {
		t.Error("a session was forgotten while a binding uses it")
	}
	s.drop(b)
	if len(s.m)+len(s.users) != 0 {
		t.Errorf("%d sessions and %d users are left", len(s.m), len(s.users))
	}
	unsaved := s.of(a, zone, name("alice"), "refresh_token")
	unsaved.unsaved = redacted.New("new")
	unsaved.access.AccessToken = redacted.New("access")
	s.drop(a)
	if got := s.of(b, zone, name("alice"), "refresh_token"); got != unsaved || got.unsaved.Reveal() != "new" || !got.access.AccessToken.IsZero() {
		t.Error("a refresh token that was not saved is lost, or the access token is kept")
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
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Namespace, b.Name = "ns", "a"
	b.Spec.Subject.RefreshTokenSecretRef = &v1alpha1.SecretKeyReference{Name: "alice", Key: "refresh_token"}
	s, r := newScope(b, noon), &Reconciler{}
	held := r.sessions.of(s.key(), s.issuer, s.local("alice"), "refresh_token")
	held.access.AccessToken = redacted.New("next")
	r.forgetAccess(s, redacted.New("refused"))
	if held.access.AccessToken.IsZero() {
		t.Error("the next token is forgotten")
	}
	r.forgetAccess(s, redacted.New("next"))
	if !held.access.AccessToken.IsZero() {
		t.Error("a token that was refused is kept")
	}
}
