// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/devzone/policy"
	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

func TestDecide(t *testing.T) {
	zone := store.Zone{Impersonation: []store.ImpersonationPermit{{ApplicationIdentifier: "reports", UserIdentifier: "alice"}}}
	tests := map[string]struct {
		application, user string
		impersonate       bool
		allowed           bool
		policies          []string
	}{
		"direct access":            {"reports", "", false, true, []string{"default-app-direct-access"}},
		"delegation":               {"other", "bob", false, true, []string{"default-user-grants", "default-app-delegation"}},
		"permitted impersonation":  {"reports", "alice", true, true, []string{"seed-impersonation"}},
		"another user":             {"reports", "bob", true, false, []string{"default-user-grants"}},
		"another application":      {"other", "alice", true, false, []string{"default-user-grants"}},
		"case of the user matters": {"reports", "Alice", true, false, []string{"default-user-grants"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			q := policy.Request{Zone: zone, Application: store.Application{Identifier: tt.application}, Impersonate: tt.impersonate}
			if tt.user != "" {
				q.Subject = &store.User{Identifier: tt.user}
			}
			d := policy.Decide(q)
			g.Expect(d.Allowed).To(Equal(tt.allowed))
			g.Expect(d.Policies).To(Equal(tt.policies))
		})
	}
}

func TestDenial(t *testing.T) {
	d := policy.Decision{Set: "s", Version: 2, Policies: []string{"a", "b"}}
	NewWithT(t).Expect(d.Denial()).To(Equal("Access denied by policy. Policy set: s. Policy set version: 2. Determining policies: a, b."))
}
