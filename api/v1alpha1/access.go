// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"unicode/utf8"

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

// InputSecrets returns the names of the Secrets that the binding's application and subject refer to.
func (b *ConfluenceTokenBinding) InputSecrets() (names []string) {
	if ref := b.Spec.Application.ClientSecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	for _, ref := range []*SecretKeyReference{b.Spec.Subject.AccessTokenSecretRef, b.Spec.Subject.RefreshTokenSecretRef} {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// maxRequest is what status keeps of a request's value, in bytes.
const maxRequest = 64

// RefreshRequest returns the value of the request for a new token, clipped to what status can take: 64 bytes. It is "" when there
// is none.
func (b *ConfluenceTokenBinding) RefreshRequest() string {
	request := b.Annotations[RefreshRequestedAtAnnotation]
	if len(request) <= maxRequest {
		return request
	}
	cut := maxRequest
	for !utf8.RuneStart(request[cut]) {
		cut--
	}
	return request[:cut]
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
