// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consent lets bindings go on as soon as the person they act for has consented: it serves the page on which she does,
// and looks for grants that she made elsewhere.
package consent

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/status,verbs=patch
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources,verbs=list;watch

// Bindings are woken when there may be consent. It is safe for concurrent use.
type Bindings interface {
	// Consented is told that the zone shows a new grant of the person. It ends the pause after a refusal for want of consent.
	Consented(key types.NamespacedName)
	// Returned is told that a person came back from the page, and has the binding looked at. It reports whether that was
	// believed, which is at most four times in a row and then once in ten minutes, and ended the pause after a failure that
	// a person had to mend.
	Returned(key types.NamespacedName) bool
}

// waiter is a binding that waits for the consent of a user to an install.
type waiter struct {
	key, install types.NamespacedName
	user         string
}

// isWaiting is a field index over bindings; its only value is "true".
const isWaiting = "waitsForConsent"

func indexWaiting(o client.Object) []string {
	if b, ok := o.(*v1alpha1.ConfluenceTokenBinding); ok && Waits(b) {
		return []string{"true"}
	}
	return nil
}

// Waits reports whether a binding waits for the consent of a person whom it names.
func Waits(b *v1alpha1.ConfluenceTokenBinding) bool {
	if b.Spec.Subject.User == "" || ptr.Deref(b.Spec.Suspend, false) {
		return false
	}
	issued := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued)
	return b.Status.RefreshProblem == v1alpha1.ReasonConsentRequired || issued != nil && issued.Reason == v1alpha1.ReasonConsentRequired
}

// waiting lists the bindings that wait for consent.
func waiting(ctx context.Context, reader client.Reader) ([]waiter, error) {
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := reader.List(ctx, &bindings, client.MatchingFields{isWaiting: "true"}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing bindings that wait for consent: %w", err)
	}
	list := make([]waiter, len(bindings.Items))
	for i := range bindings.Items {
		b := &bindings.Items[i]
		list[i] = waiter{key: client.ObjectKeyFromObject(b), install: b.ResourceKey(), user: b.Spec.Subject.User}
	}
	return list, nil
}
