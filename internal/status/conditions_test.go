// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/internal/status"
)

func TestTransitionTimeMovesWithTheStatusOnly(t *testing.T) {
	old := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	list := []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: old}}
	w := status.Conditions{List: &list, Generation: 7}

	w.Set("Ready", metav1.ConditionTrue, "Other", "other words")
	if got := list[0]; !got.LastTransitionTime.Equal(&old) || got.ObservedGeneration != 7 || got.Reason != "Other" {
		t.Errorf("same status: %+v", got)
	}
	w.Set("Ready", metav1.ConditionFalse, "Broken", "")
	if list[0].LastTransitionTime.Equal(&old) {
		t.Error("another status left the transition time where it was")
	}
}

func TestReconcilingAndStalledExcludeEachOther(t *testing.T) {
	var list []metav1.Condition
	w := status.Conditions{List: &list}
	w.Reconciling("Progressing")
	w.Stalled("SecretInvalid")
	if meta.FindStatusCondition(list, "Reconciling") != nil || !meta.IsStatusConditionTrue(list, "Stalled") {
		t.Errorf("after Stalled: %v", list)
	}
	w.Reconciling("Progressing")
	if meta.FindStatusCondition(list, "Stalled") != nil {
		t.Errorf("after Reconciling: %v", list)
	}
	w.Settled()
	if len(list) != 0 {
		t.Errorf("after Settled: %v", list)
	}
}

func TestLongMessagesAreClippedBetweenCharacters(t *testing.T) {
	var list []metav1.Condition
	w := status.Conditions{List: &list}
	w.Set("Ready", metav1.ConditionFalse, "Long", strings.Repeat("ä", 2000))
	if m := list[0].Message; len(m) > 1024 || !utf8.ValidString(m) || !strings.HasSuffix(m, "…") {
		t.Errorf("clipped to %d bytes, valid: %v", len(m), utf8.ValidString(m))
	}
}
