// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// Who comes back from the zone, or says so, ends the wait for a person, and no pause for the sake of the zone.
func TestWake(t *testing.T) {
	g := NewWithT(t)
	key := types.NamespacedName{Namespace: "team", Name: "reports"}
	var a attempts
	g.Expect(a.wake(key, noon)).To(BeTrue(), "nothing failed")
	for _, p := range []*outcome.Problem{
		outcome.Passing(v1alpha1.ReasonZoneUnreachable, "x"), {Kind: outcome.Throttled, Reason: v1alpha1.ReasonThrottled},
	} {
		a = attempts{}
		a.remember(key, attempt{problem: p})
		g.Expect(a.wake(key, noon)).To(BeTrue())
		_, there := a.last(key, "")
		g.Expect(there).To(BeTrue(), "the pause lasts")
	}
	consent := attempt{problem: outcome.NeedsPerson(v1alpha1.ReasonConsentRequired, "x")}
	a = attempts{}
	a.remember(key, consent)
	g.Expect(a.withoutConsent()).To(Equal([]types.NamespacedName{key}))
	g.Expect(a.wake(key, noon)).To(BeTrue())
	g.Expect(a.withoutConsent()).To(BeEmpty())
	a.remember(key, consent)
	g.Expect(a.wake(key, noon.Add(9*time.Second))).To(BeFalse(), "too soon")
	g.Expect(a.withoutConsent()).To(HaveLen(1))
	g.Expect(a.wake(types.NamespacedName{Name: "other"}, noon)).To(BeTrue(), "another binding")
	g.Expect(a.wake(key, noon.Add(10*time.Second))).To(BeTrue())
	a.drop(key)
	g.Expect(a.wake(key, noon.Add(11*time.Second))).To(BeTrue(), "it was deleted and made again")
}
