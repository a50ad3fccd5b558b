// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

func TestFromKeycard(t *testing.T) {
	tests := map[string]struct {
		err    keycard.Error
		kind   problem.Kind
		reason string
	}{
		"transient":           {keycard.Error{Class: keycard.Transient, Status: 503}, problem.KindTransient, v1alpha1.ReasonZoneUnreachable},
		"throttled":           {keycard.Error{Class: keycard.Throttled, Status: 429, RetryAfter: time.Minute}, problem.KindThrottled, v1alpha1.ReasonThrottled},
		"consent":             {keycard.Error{Class: keycard.NeedsConsent, Code: "insufficient_authorization"}, problem.KindPerson, v1alpha1.ReasonConsentRequired},
		"denied":              {keycard.Error{Class: keycard.Denied, Code: "access_denied"}, problem.KindPerson, v1alpha1.ReasonAccessDenied},
		"invalid client":      {keycard.Error{Class: keycard.Misconfigured, Code: "invalid_client", Status: 400}, problem.KindPerson, v1alpha1.ReasonClientRejected},
		"401":                 {keycard.Error{Class: keycard.Misconfigured, Status: 401}, problem.KindPerson, v1alpha1.ReasonClientRejected},
		"invalid target":      {keycard.Error{Class: keycard.Misconfigured, Code: "invalid_target"}, problem.KindPerson, v1alpha1.ReasonRequestRejected},
		"http":                {keycard.Error{Class: keycard.Misconfigured, Err: keycard.ErrEndpointNotAllowed}, problem.KindPerson, v1alpha1.ReasonEndpointNotAllowed},
		"a token with spaces": {keycard.Error{Class: keycard.Misconfigured, Err: keycard.ErrTokenUnusable}, problem.KindPerson, v1alpha1.ReasonTokenUnusable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.err.Op, tc.err.Description = "asking the zone", "its words"
			p, ok := problem.FromKeycard(fmt.Errorf("wrapped: %w", &tc.err))
			if !ok || p.Kind != tc.kind || p.Reason != tc.reason || p.RetryAfter != tc.err.RetryAfter {
				t.Fatalf("got %+v, %v", p, ok)
			}
			if p.Cause == "" || p.Remedy == "" || !strings.HasSuffix(p.Message(), "its words") {
				t.Errorf("the message has no cause or no remedy, or does not end in the zone's words: %s", p.Message())
			}
		})
	}
	if _, ok := problem.FromKeycard(errors.New("of the cluster")); ok {
		t.Error("an error of the cluster is taken for the zone's")
	}
	if _, ok := problem.FromKeycard(nil); ok {
		t.Error("no error is taken for one")
	}
}
