// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// Nothing is remembered of a binding that is gone, or there would be more and more.
func TestMemoriesAreForgotten(t *testing.T) {
	gone := types.NamespacedName{Namespace: "ns", Name: "gone"}
	l := newLook(&v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: gone.Namespace, Name: gone.Name}}, noon)
	l.c.result(l.scope, refresh.Action{Wake: noon})
	if _, known := l.c.memories.wake(gone); !known {
		t.Fatal("it is not remembered when the binding is to be woken")
	}
	if _, err := l.c.Reconcile(t.Context(), reconcile.Request{NamespacedName: gone}); err != nil {
		t.Fatal(err)
	}
	if len(l.c.memories.m) != 0 {
		t.Error("the binding is still remembered")
	}
}
