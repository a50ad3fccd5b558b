// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package secretmeta reads the metadata of Secrets. It says who owns which field, so that a change
// by someone else shows without a value ever leaving the server.
package secretmeta

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// New returns the empty metadata of a Secret, for reads and writes that never carry its values
// back.
func New(namespace, name string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	m.Namespace, m.Name = namespace, name
	return m
}

// Version names the version of a Secret; "" when there is none.
func Version(m *metav1.PartialObjectMetadata) string {
	if m.UID == "" {
		return ""
	}
	return string(m.UID) + "/" + m.ResourceVersion
}

// Owned is what a field manager owns of a Secret, in the notation of managedFields.
type Owned struct {
	Type     Fields `json:"f:type"`
	Data     Fields `json:"f:data"`
	Metadata struct {
		Annotations Fields `json:"f:annotations"`
		Labels      Fields `json:"f:labels"`
	} `json:"f:metadata"`
}

// Fields are the fields below one, by their notation; nil when the field itself is not owned.
type Fields map[string]json.RawMessage

// Has reports whether all of these keys are among the fields.
func (f Fields) Has(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { _, ok := f["f:"+key]; return !ok })
}

// OwnedBy returns what a field manager owns of a Secret by one kind of operation.
func OwnedBy(m *metav1.PartialObjectMetadata, manager string, op metav1.ManagedFieldsOperationType) Owned {
	for _, e := range m.ManagedFields {
		if e.Manager == manager && e.Operation == op && e.Subresource == "" {
			return Parse(e)
		}
	}
	return Owned{}
}

// Parse reads one entry of managedFields. It is empty for one that can't be read.
func Parse(e metav1.ManagedFieldsEntry) (o Owned) {
	if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &o) != nil {
		return Owned{}
	}
	return o
}
