// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// The longer the line, the later each looks for itself; one whose token lapses does not wait for that.
func TestBackstop(t *testing.T) {
	for name, tt := range map[string]struct {
		others int
		left   time.Duration // of an hour's token; 0: there is none
		want   time.Duration
	}{
		"few":             {2, 0, 15*time.Second + 20*time.Millisecond},
		"a thousand":      {1000, 0, 25 * time.Second},
		"twenty thousand": {20_000, 0, 2 * time.Minute},
		"lapses later":    {20_000, 30 * time.Minute, 2 * time.Minute},
		"lapses soon":     {20_000, refresh.MountPropagation + 30*time.Second, 30 * time.Second},
		"lapses now":      {20_000, time.Minute, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
			if tt.left > 0 {
				expires := noon.Add(tt.left)
				s.secret.Held = holdingFor(refresh.Life{IssuedAt: expires.Add(-time.Hour), ExpiresAt: expires}, s.want)
				s.secret.Intact = true
			}
			NewWithT(t).Expect(s.backstop(tt.others)).To(Equal(tt.want))
		})
	}
}

// Tokens that lapse, or have, come first; then bindings that have none, by their arrival; then the others, soonest first.
func TestOrder(t *testing.T) {
	g := NewWithT(t)
	holding := func(left time.Duration) *scope {
		s := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
		expires := noon.Add(left)
		s.secret.Held = holdingFor(refresh.Life{IssuedAt: expires.Add(-time.Hour), ExpiresAt: expires}, s.want)
		s.secret.Intact = true
		return s
	}
	none, later := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon), newScope(&v1alpha1.ConfluenceTokenBinding{}, noon.Add(time.Second))
	other := holding(time.Minute) // its token is for another spec
	other.secret.Held.Made.Spec = "x"
	tampered := holding(time.Minute)
	tampered.secret.Intact = false

	inTurn := []*scope{holding(-time.Minute), holding(time.Minute), none, later, holding(3 * time.Minute), holding(time.Hour)}
	for i, s := range inTurn[1:] {
		g.Expect(s.turn()).To(BeTemporally(">", inTurn[i].turn()), "%d after %d", i+1, i)
	}
	g.Expect(other.turn()).To(Equal(none.turn()))
	g.Expect(tampered.turn()).To(Equal(none.turn()))

	of := func(s *scope) int { return priority(s.deadline(), noon) }
	g.Expect([]int{of(holding(-time.Minute)), of(holding(time.Minute)), of(none), of(other)}).To(Equal([]int{urgent, urgent, first, first}))
	g.Expect(of(holding(3 * time.Minute))).To(And(BeNumerically("<", first), BeNumerically(">", of(holding(time.Hour)))))
	g.Expect(of(holding(24 * time.Hour))).To(BeNumerically(">=", routine))
}
