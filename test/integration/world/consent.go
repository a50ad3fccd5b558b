// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/consent"
)

// LookForConsent looks for consent once, as the operator does, and gives the bindings that it wakes.
func (w *World) LookForConsent() []types.NamespacedName {
	w.woken = nil
	w.watcher.Look(w.Ctx)
	return w.woken
}

// woken notes which bindings are woken by a new grant.
type woken struct{ w *World }

// Consented implements consent.Bindings. The watcher calls it one at a time.
func (b woken) Consented(key types.NamespacedName) {
	b.w.Bindings.Consented(key)
	b.w.woken = append(b.w.woken, key)
}

// Returned implements consent.Bindings.
func (b woken) Returned(key types.NamespacedName) bool { return b.w.Bindings.Returned(key) }

// indexed lists the bindings of a namespace that wait for consent, as the operator's cache does by its index.
type indexed struct {
	client.Client
	namespace string
}

// List implements client.Reader.
func (c indexed) List(ctx context.Context, list client.ObjectList, _ ...client.ListOption) error {
	err := c.Client.List(ctx, list, client.InNamespace(c.namespace))
	if bindings, ok := list.(*v1alpha1.ConfluenceTokenBindingList); ok {
		bindings.Items = slices.DeleteFunc(bindings.Items, func(b v1alpha1.ConfluenceTokenBinding) bool { return !consent.Waits(&b) })
	}
	return err
}
