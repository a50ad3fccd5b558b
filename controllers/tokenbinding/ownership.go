// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"encoding/json"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// intact tells whether the Secret's data and bookkeeping are still as the operator wrote them. Whoever
// changes or removes a field takes its ownership from us (server-side apply), so the answer is in the
// metadata and no value has to be read.
func intact(m *metav1.PartialObjectMetadata, formats []tokenfile.Format) bool {
	owned := ownedBy(m, v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply)
	return owned.Data.has(tokenfile.Keys(formats)...) && owned.Metadata.Annotations.has(bookkeeping...)
}

// isDressed tells whether what else the operator applied is there too: the labels and annotations that the spec wants, and the
// reference to the binding. What a webhook of the cluster takes off while we write stays ours, and is not put back.
func (s *scope) isDressed(m *metav1.PartialObjectMetadata) bool {
	owned := ownedBy(m, v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply)
	return metav1.IsControlledBy(m, s.binding) &&
		owned.Metadata.Labels.has(slices.Collect(maps.Keys(s.labels()))...) &&
		owned.Metadata.Annotations.has(slices.Collect(maps.Keys(s.binding.Spec.Secret.Annotations))...)
}

// owned is what a field manager owns of a Secret, in the notation of managedFields.
type owned struct {
	Type     fieldSet `json:"f:type"`
	Data     fieldSet `json:"f:data"`
	Metadata struct {
		Annotations fieldSet `json:"f:annotations"`
		Labels      fieldSet `json:"f:labels"`
	} `json:"f:metadata"`
}

type fieldSet map[string]json.RawMessage

func (f fieldSet) has(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { _, ok := f["f:"+key]; return !ok })
}

// ownedBy gives what a field manager owns of a Secret.
func ownedBy(m *metav1.PartialObjectMetadata, manager string, op metav1.ManagedFieldsOperationType) owned {
	i := slices.IndexFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == manager && e.Operation == op && e.Subresource == ""
	})
	if i < 0 {
		return owned{}
	}
	return ownedIn(m.ManagedFields[i])
}

func ownedIn(e metav1.ManagedFieldsEntry) (o owned) {
	if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &o) != nil {
		return owned{}
	}
	return o
}

// maker finds who else made a Secret: only its maker owns its type, or applied data. Who changed a Secret of ours owns neither.
func maker(m *metav1.PartialObjectMetadata) (metav1.ManagedFieldsEntry, bool) {
	for _, e := range m.ManagedFields {
		o := ownedIn(e)
		if e.Manager != v1alpha1.FieldManager && (o.Type != nil || e.Operation == metav1.ManagedFieldsOperationApply && o.Data != nil) {
			return e, true
		}
	}
	return metav1.ManagedFieldsEntry{}, false
}

// madeBefore tells whether somebody else owned a Secret from its first second on.
func madeBefore(m *metav1.PartialObjectMetadata) bool {
	e, ok := maker(m)
	return ok && e.Time != nil && !e.Time.After(m.CreationTimestamp.Time)
}
