// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of objects that are only watched, the cache keeps name and version, and of namespaces the labels.
func TestSlim(t *testing.T) {
	full := func(kind string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: "it", UID: "u", ResourceVersion: "1", Labels: map[string]string{"x": "y"},
				Annotations: map[string]string{"a": "b"}, Finalizers: []string{"example.com/x"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "o"}},
				ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
			},
		}
	}
	for kind, labels := range map[string]map[string]string{"ConfigMap": nil, "Namespace": {"x": "y"}} {
		t.Run(kind, func(t *testing.T) {
			g := NewWithT(t)
			got, err := slim(full(kind))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(&metav1.PartialObjectMetadata{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kind},
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "it", UID: "u", ResourceVersion: "1", Labels: labels},
			}))
		})
	}
}
