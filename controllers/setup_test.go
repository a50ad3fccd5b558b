// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Of other people's objects the cache keeps what is asked for: versions, owners, the labels of namespaces, who renewed a session.
func TestSlim(t *testing.T) {
	full := func(kind string, labels map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: "it", UID: "u", ResourceVersion: "1", Labels: labels,
				Annotations: map[string]string{"a": "b"}, Finalizers: []string{"example.com/x"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "o"}},
				ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}, {Manager: v1alpha1.SessionFieldManager}},
			},
		}
	}
	others, mine := map[string]string{"x": "y"}, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	slimmed := func(kind string, labels map[string]string) *metav1.PartialObjectMetadata {
		m := full(kind, labels)
		m.Annotations, m.Finalizers, m.ManagedFields = nil, nil, m.ManagedFields[1:]
		return m
	}
	for name, tt := range map[string]struct{ have, want *metav1.PartialObjectMetadata }{
		"somebody's Secret": {full("Secret", others), slimmed("Secret", nil)},
		"a namespace":       {full("Namespace", others), slimmed("Namespace", others)},
		"the operator's":    {full("Secret", mine), full("Secret", mine)},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, err := slim(tt.have)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(tt.want))
		})
	}
}
