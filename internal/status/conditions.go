// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status writes the status of objects. It sets metav1.Conditions so that the generation is never forgotten, an unchanged
// condition never moves, and Reconciling and Stalled are never both there.
package status

import (
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// The conditions that kstatus reads besides Ready.
const (
	reconciling = "Reconciling"
	stalled     = "Stalled"
)

// maxMessage is the longest message, in bytes: enough for a sentence with its remedy and the remote's
// words, and short enough for a terminal.
const maxMessage = 1024

// Conditions sets conditions of one object in one reconcile.
type Conditions struct {
	// List is the object's condition list.
	List *[]metav1.Condition
	// Generation is what the conditions speak of.
	Generation int64
}

// Set sets a condition. Its transition time moves only when its status does.
func (w Conditions) Set(conditionType string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(w.List, metav1.Condition{
		Type: conditionType, Status: status, ObservedGeneration: w.Generation,
		Reason: reason, Message: clip(message),
	})
}

// Remove takes a condition away that no longer applies.
func (w Conditions) Remove(conditionType string) { meta.RemoveStatusCondition(w.List, conditionType) }

// Settled removes Reconciling and Stalled: the object is as the spec wants it.
func (w Conditions) Settled() {
	meta.RemoveStatusCondition(w.List, reconciling)
	meta.RemoveStatusCondition(w.List, stalled)
}

// Show sets a condition to what a problem says.
func (w Conditions) Show(conditionType string, status metav1.ConditionStatus, p *problem.Problem) {
	w.Set(conditionType, status, p.Reason, p.Message())
}

// Reconciling says that the operator works towards the spec by itself.
func (w Conditions) Reconciling(reason string) {
	meta.RemoveStatusCondition(w.List, stalled)
	w.Set(reconciling, metav1.ConditionTrue, reason, "The operator works on it. Ready says what is missing")
}

// Stalled says that nothing moves until a person does something.
func (w Conditions) Stalled(reason string) {
	meta.RemoveStatusCondition(w.List, reconciling)
	w.Set(stalled, metav1.ConditionTrue, reason, "Nothing moves until a person acts. Ready says what is wrong")
}

// Moves says who moves next after a problem: a person, or the operator.
func (w Conditions) Moves(p *problem.Problem) {
	if p.Stalls() {
		w.Stalled(p.Reason)
		return
	}
	w.Reconciling(v1alpha1.ReasonProgressingWithRetry)
}

func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage - len("…")
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}
