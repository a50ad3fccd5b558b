// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

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
