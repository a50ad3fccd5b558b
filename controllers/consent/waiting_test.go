// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Whether a binding waits is a matter of what its status says for machines, whether it has a token or not.
func TestWaits(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.ConfluenceTokenBinding)
		want   bool
	}{
		"it has no token":      {func(*v1alpha1.ConfluenceTokenBinding) {}, true},
		"nobody is named":      {func(b *v1alpha1.ConfluenceTokenBinding) { b.Spec.Subject.User = "" }, false},
		"suspended":            {func(b *v1alpha1.ConfluenceTokenBinding) { b.Spec.Suspend = new(true) }, false},
		"another problem":      {func(b *v1alpha1.ConfluenceTokenBinding) { b.Status.Conditions[0].Reason = v1alpha1.ReasonAccessDenied }, false},
		"nothing is known yet": {func(b *v1alpha1.ConfluenceTokenBinding) { b.Status.Conditions = nil }, false},
		"it has a token": {func(b *v1alpha1.ConfluenceTokenBinding) {
			b.Status.Conditions[0].Reason, b.Status.RefreshProblem = v1alpha1.ReasonRefreshFailing, v1alpha1.ReasonConsentRequired
		}, true},
		"it has a token, and another problem": {func(b *v1alpha1.ConfluenceTokenBinding) {
			b.Status.Conditions[0].Reason, b.Status.RefreshProblem = v1alpha1.ReasonRefreshFailing, v1alpha1.ReasonAccessDenied
		}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := &v1alpha1.ConfluenceTokenBinding{}
			b.Spec.Subject.User = "alice"
			b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTokenIssued, Reason: v1alpha1.ReasonConsentRequired}}
			tc.change(b)
			if got := slices.Contains(indexWaiting(b), "true"); got != tc.want || Waits(b) != tc.want {
				t.Errorf("it waits: %v", got)
			}
		})
	}
	if values := indexWaiting(&v1alpha1.KeycardResource{}); values != nil {
		t.Errorf("another kind is indexed by %v", values)
	}
}
