// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// ResourceKey returns the name of the KeycardResource that the binding refers to.
func (b *ConfluenceTokenBinding) ResourceKey() types.NamespacedName {
	ref := b.Spec.ResourceRef
	key := types.NamespacedName{Namespace: b.Namespace, Name: ref.Name}
	if ref.Namespace != "" {
		key.Namespace = ref.Namespace
	}
	return key
}

// Admits reports whether objects in namespace may use the resource. Only its own namespace is admitted by default.
// labelsOf returns the labels of the namespace; it is called only where they decide, and its error is returned as it is.
func (r *KeycardResource) Admits(namespace string, labelsOf func() (map[string]string, error)) (bool, error) {
	allowed := r.Spec.AllowedNamespaces
	switch {
	case namespace == r.Namespace:
		return true, nil
	case allowed == nil:
		return false, nil
	case allowed.From == NamespacesFromAll:
		return true, nil
	case allowed.From != NamespacesFromSelector:
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		// The schema checks selectors, but not in full. An invalid one admits nothing.
		return false, nil //nolint:nilerr // see above
	}
	set, err := labelsOf()
	return err == nil && selector.Matches(labels.Set(set)), err
}
