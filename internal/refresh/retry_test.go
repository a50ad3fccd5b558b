// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh_test

import (
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

func TestPause(t *testing.T) {
	tests := map[string]struct {
		problem       *problem.Problem
		least, most   time.Duration
		stall, passes bool
	}{
		"waiting":        {&problem.Problem{Kind: problem.KindWaiting, Reason: "R", Cause: "m"}, 0, 0, false, false},
		"blocked":        {&problem.Problem{Kind: problem.KindBlocked, Reason: "R", Cause: "m"}, 0, 0, true, false},
		"needs a person": {&problem.Problem{Kind: problem.KindPerson, Reason: "R", Cause: "m"}, 10 * time.Minute, 11 * time.Minute, true, false},
		"passing":        {&problem.Problem{Kind: problem.KindTransient, Reason: "R", Cause: "m"}, time.Second, 90 * time.Second, false, true},
		"throttled":      {&problem.Problem{Kind: problem.KindThrottled, RetryAfter: 5 * time.Minute}, 5 * time.Minute, 5 * time.Minute, false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for failures := 1; failures < 20; failures++ {
				got := refresh.Pause(tc.problem, failures, 0, "uid")
				if got < tc.least || got > tc.most {
					t.Errorf("failure %d: tries again after %s, want within [%s, %s]", failures, got, tc.least, tc.most)
				}
			}
			if tc.problem.Stalls() != tc.stall || tc.problem.Passes() != tc.passes {
				t.Errorf("stalls %v, passes %v", tc.problem.Stalls(), tc.problem.Passes())
			}
		})
	}
}
