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

// A binding whose user has consented is tried again and waits for consent until that succeeds: what is known of the zone's
// grants lasts as long. One that has another problem meanwhile is left alone.
func TestConsentedStaysWaiting(t *testing.T) {
	g := NewWithT(t)
	var a attempts
	waits, throttled := types.NamespacedName{Name: "waits"}, types.NamespacedName{Name: "throttled"}
	a.remember(waits, attempt{failures: 2, notBefore: noon.Add(time.Hour), problem: outcome.NeedsPerson(v1alpha1.ReasonConsentRequired, "x")})
	a.remember(throttled, attempt{notBefore: noon.Add(time.Hour), problem: outcome.Passing(v1alpha1.ReasonThrottled, "x")})

	g.Expect(a.consented(waits)).To(BeTrue())
	g.Expect(a.consented(throttled)).To(BeFalse())
	g.Expect(a.consented(types.NamespacedName{Name: "unknown"})).To(BeFalse())
	g.Expect(a.withoutConsent()).To(ConsistOf(waits))
	now, ok := a.last(waits, "")
	g.Expect(ok).To(BeTrue())
	g.Expect(now.notBefore).To(BeZero())
	g.Expect(now.failures).To(Equal(2))
	last, _ := a.last(throttled, "")
	g.Expect(last.notBefore).To(Equal(noon.Add(time.Hour)))
}
