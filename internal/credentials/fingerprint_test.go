// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// A fingerprint changes with all that was sent, and with who sent it and whereto; it holds nothing
// of it.
func TestFingerprint(t *testing.T) {
	type sent struct {
		app, by credentials.Client
		to      string
	}
	base := func() sent {
		return sent{credentials.Client{ID: "app", Secret: redacted.New("canary")}, credentials.Client{ID: "sa", Secret: redacted.New("key")}, "p1"}
	}
	of := func(s sent) string { return credentials.Fingerprint(s.app, s.to, s.by) }
	want := of(base())
	if want != of(base()) || strings.Contains(want, "canary") {
		t.Errorf("fingerprint %s", want)
	}
	for name, tc := range map[string]struct {
		change  func(*sent)
		sameKey bool
	}{
		"client id":        {func(s *sent) { s.app.ID = "app2" }, true},
		"client secret":    {func(s *sent) { s.app.Secret = redacted.New("canary2") }, true},
		"key":              {func(s *sent) { s.by.Secret = redacted.New("key2") }, true},
		"account":          {func(s *sent) { s.by.ID = "sa2" }, false},
		"parts move":       {func(s *sent) { s.app.ID, s.app.Secret = "appc", redacted.New("anary") }, true},
		"another provider": {func(s *sent) { s.to = "p2" }, true},
	} {
		s := base()
		tc.change(&s)
		if of(s) == want {
			t.Errorf("%s: the same fingerprint", name)
		}
		if got := credentials.SameKey(of(s), want); got != tc.sameKey {
			t.Errorf("%s: the same key: %v", name, got)
		}
	}
}
