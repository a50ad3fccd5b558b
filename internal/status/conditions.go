// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status writes the status of objects. It sets metav1.Conditions so that the generation is never forgotten, an unchanged
// condition never moves, and Reconciling and Stalled are never both there.
package status

import (
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Reconciling says that the operator works towards the spec by itself.
func (w Conditions) Reconciling(reason, message string) {
	meta.RemoveStatusCondition(w.List, stalled)
	w.Set(reconciling, metav1.ConditionTrue, reason, message)
}

// Stalled says that nothing moves until a person does something.
func (w Conditions) Stalled(reason, message string) {
	meta.RemoveStatusCondition(w.List, reconciling)
	w.Set(stalled, metav1.ConditionTrue, reason, message)
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
