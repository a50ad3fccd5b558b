// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
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
		"lapses soon":     {20_000, MountPropagation + 30*time.Second, 30 * time.Second},
		"lapses now":      {20_000, time.Minute, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Now: noon}
			if tt.left > 0 {
				f = lapsing(tt.left)
			}
			NewWithT(t).Expect(backstop(f, tt.others)).To(Equal(tt.want))
		})
	}
}

// lapsing has a token of an hour that lapses after a while.
func lapsing(left time.Duration) Facts {
	expires := noon.Add(left)
	return Facts{Now: noon, Held: good(Life{IssuedAt: expires.Add(-time.Hour), ExpiresAt: expires})}
}

// Tokens that lapse, or have, come first; then bindings that have none, by their arrival; then the others, soonest first.
func TestOrder(t *testing.T) {
	g := NewWithT(t)
	none, later := Facts{Now: noon}, Facts{Now: noon.Add(time.Second)}
	other, tampered := lapsing(time.Minute), lapsing(time.Minute)
	other.Held.Fits, tampered.Held.Intact = false, false

	inTurn := []Facts{lapsing(-time.Minute), lapsing(time.Minute), none, later, lapsing(3 * time.Minute), lapsing(time.Hour)}
	for i, f := range inTurn[1:] {
		g.Expect(f.Turn()).To(BeTemporally(">", inTurn[i].Turn()), "%d after %d", i+1, i)
	}
	g.Expect(other.Turn()).To(Equal(none.Turn()))
	g.Expect(tampered.Turn()).To(Equal(none.Turn()))

	of := func(f Facts) int { return Priority(f.Deadline(), noon) }
	g.Expect([]int{of(lapsing(-time.Minute)), of(lapsing(time.Minute)), of(none), of(other)}).To(Equal([]int{Urgent, Urgent, first, first}))
	g.Expect(of(lapsing(3 * time.Minute))).To(And(BeNumerically("<", first), BeNumerically(">", of(lapsing(time.Hour)))))
	g.Expect(of(lapsing(24 * time.Hour))).To(BeNumerically(">=", routine))
}
