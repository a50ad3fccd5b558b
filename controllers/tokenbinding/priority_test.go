// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/schedule"
)

// The longer the line, the later each looks for itself; one whose token lapses does not wait for that.
func TestInLine(t *testing.T) {
	for name, tt := range map[string]struct {
		others int
		left   time.Duration // of an hour's token; 0: there is none
		want   time.Duration
	}{
		"few":             {2, 0, 15*time.Second + 20*time.Millisecond},
		"a thousand":      {1000, 0, 25 * time.Second},
		"twenty thousand": {20_000, 0, 2 * time.Minute},
		"lapses later":    {20_000, 30 * time.Minute, 2 * time.Minute},
		"lapses soon":     {20_000, schedule.MountPropagation + 30*time.Second, 30 * time.Second},
		"lapses now":      {20_000, time.Minute, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
			if tt.left > 0 {
				expires := noon.Add(tt.left)
				s.held = &held{life: schedule.Life{IssuedAt: expires.Add(-time.Hour), ExpiresAt: expires}, specHash: s.wantSpec}
				s.intact = true
			}
			NewWithT(t).Expect(s.inLine(tt.others).RequeueAfter).To(Equal(tt.want))
		})
	}
}
