// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// A binding whose user has consented is tried again and waits for consent until that succeeds: what is known of the zone's
// grants lasts as long. One that has another problem meanwhile is left alone.
func TestConsentedStaysWaiting(t *testing.T) {
	g := NewWithT(t)
	var a attempts
	waits, throttled := types.NamespacedName{Name: "waits"}, types.NamespacedName{Name: "throttled"}
	a.remember(waits, attempt{failures: 2, notBefore: noon.Add(time.Hour), problem: problem.NeedsPerson(v1alpha1.ReasonConsentRequired, "x")})
	a.remember(throttled, attempt{notBefore: noon.Add(time.Hour), problem: problem.Passing(v1alpha1.ReasonThrottled, "x")})

	g.Expect(a.consented(waits)).To(BeTrue())
	g.Expect(a.consented(throttled)).To(BeFalse())
	g.Expect(a.consented(types.NamespacedName{Name: "unknown"})).To(BeFalse())
	now, ok := a.last(waits, "")
	g.Expect(ok).To(BeTrue())
	g.Expect(now.notBefore).To(BeZero())
	g.Expect(now.failures).To(Equal(2))
	last, _ := a.last(throttled, "")
	g.Expect(last.notBefore).To(Equal(noon.Add(time.Hour)))
}

// Whoever comes back from the zone is believed a few times in a row, and then once in ten minutes until a token is there. What a
// person can't mend is not tried sooner.
func TestReturnsAreBounded(t *testing.T) {
	g := NewWithT(t)
	var a attempts
	hers, throttled := types.NamespacedName{Name: "hers"}, types.NamespacedName{Name: "throttled"}
	pause := func() {
		a.remember(hers, attempt{failures: 2, notBefore: noon.Add(time.Hour), problem: problem.NeedsPerson(v1alpha1.ReasonNoAccessibleSites, "x")})
	}
	now, woken := noon, 0
	for range 20 {
		pause()
		was := a.wake(hers, now)
		last, ok := a.last(hers, "")
		g.Expect(ok).To(BeTrue())
		g.Expect(last.failures).To(Equal(2), "the failure is remembered")
		g.Expect(last.notBefore.IsZero()).To(Equal(was))
		if was {
			woken++
		}
		now = now.Add(10 * time.Second)
	}
	g.Expect(woken).To(Equal(4))
	now = now.Add(10 * time.Minute)
	g.Expect(a.wake(hers, now)).To(BeTrue())
	g.Expect(a.wake(hers, now)).To(BeFalse())
	a.forget(hers) // it has succeeded
	pause()
	g.Expect(a.wake(hers, now)).To(BeTrue())

	a.remember(throttled, attempt{notBefore: noon.Add(time.Hour), problem: problem.Passing(v1alpha1.ReasonThrottled, "x")})
	a.wake(throttled, now)
	last, _ := a.last(throttled, "")
	g.Expect(last.notBefore).To(Equal(noon.Add(time.Hour)))
}
