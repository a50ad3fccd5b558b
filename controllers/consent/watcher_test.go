// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
)

// many makes grants, each newer than the one before.
func many(n int) (list []keycard.Grant) {
	for i := range n {
		at := fmt.Sprintf("2026-01-01T00:%02d:%02dZ", i/60, i%60)
		list = append(list, keycard.Grant{ID: fmt.Sprint("g", i), UserID: fmt.Sprint("u", i), CreatedAt: at, UpdatedAt: at})
	}
	return list
}

func TestCompareGrants(t *testing.T) {
	g := NewWithT(t)
	look := func(known *installGrants, list []keycard.Grant) (users []string) {
		fresh, seen := known.compare(list)
		for _, grant := range fresh {
			users = append(users, grant.UserID)
			seen[identityOf(grant)] = true
		}
		known.seen = seen
		return users
	}
	known := &installGrants{}
	first := look(known, many(100))
	g.Expect(first).To(HaveLen(usersPerLook))
	g.Expect(first[:2]).To(Equal([]string{"u99", "u98"}), "the newest at the first look")
	g.Expect(look(known, many(100))).To(BeEmpty(), "nothing new")
	g.Expect(look(known, many(130))).To(HaveLen(usersPerLook), "more than can be looked up")
	g.Expect(look(known, many(130))).To(HaveLen(10), "the others the next time")
	g.Expect(look(known, many(130))).To(BeEmpty())

	list := many(130)
	list[7].UpdatedAt = "2026-01-02T00:00:00Z"
	g.Expect(look(known, list)).To(BeEmpty(), "a refresh")
	list[7].Scopes = []string{"b", "a"}
	g.Expect(look(known, list)).To(Equal([]string{"u7"}), "other scopes")
	list[7].Scopes = []string{"a", "b"}
	g.Expect(look(known, list)).To(BeEmpty(), "the same in another order")
	g.Expect(look(known, list[:129])).To(BeEmpty(), "one is not active")
	g.Expect(look(known, list)).To(Equal([]string{"u129"}), "and is again")
}

// What is remembered of a grant does not grow with what the server answers.
func TestIdentityIsShort(t *testing.T) {
	g := NewWithT(t)
	list := many(1)
	list[0].ID, list[0].Scopes = strings.Repeat("x", 1<<20), []string{strings.Repeat("y", 1<<20)}
	g.Expect(len(identityOf(list[0]))).To(BeNumerically("<", 100))
	g.Expect(identityOf(list[0])).NotTo(Equal(identityOf(many(1)[0])))
}
