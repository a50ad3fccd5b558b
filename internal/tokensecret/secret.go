// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tokensecret keeps the output Secret of a binding. What is remembered of the token is in the
// Secret's metadata, written together with the token, so that a look at the metadata answers which token is
// there, whether anyone else changed it, and whose the Secret is. Values are written, and read only to lay
// the same token out anew.
package tokensecret

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// Secret is what one look at the metadata of an output Secret found. The zero value stands for no Secret.
type Secret struct {
	meta *metav1.PartialObjectMetadata
	// whole is Intact of what is there in every layout.
	whole bool
	// Held is the token in it; nil when there is none that can be understood.
	Held *Held
	// Intact reports whether data and bookkeeping are still as the operator wrote them. Anyone who changes or removes a field
	// takes its ownership (server-side apply), so the answer is in the metadata and no value has to be read.
	Intact bool
	// Dressed reports whether what else the operator applied is there too: the labels and annotations that the spec wants, and
	// the reference to the binding. What a webhook of the cluster takes off while we write stays ours, and is not put back.
	Dressed bool
}

// Inspect decides what there is to know of the metadata of a Secret that is the output of binding b.
func Inspect(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) Secret {
	ours := secretmeta.OwnedBy(m, v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply)
	s := Secret{meta: m, Held: heldIn(m.Annotations, ours.Metadata.Annotations)}
	s.Dressed = metav1.IsControlledBy(m, b) &&
		ours.Metadata.Labels.Has(slices.Collect(maps.Keys(labels(b)))...) &&
		ours.Metadata.Annotations.Has(slices.Collect(maps.Keys(b.Spec.Secret.Annotations))...)
	if s.Held == nil {
		return s
	}
	// Which keys were written for another layout is not known, but some are always there.
	s.whole = ours.Data.Has(tokenfile.Keys(nil)...) && ours.Metadata.Annotations.Has(bookkeeping...)
	s.Intact = s.whole && (s.Held.Made.Layout != Wants(&b.Spec).Layout || ours.Data.Has(tokenfile.Keys(formats(b))...))
	return s
}

// Exists reports whether there is a Secret.
func (s Secret) Exists() bool { return s.meta != nil }

// owner is whose a Secret is.
type owner int

const (
	// ours: the binding controls it, or did until someone took the reference off.
	ours owner = iota
	// theirs: it was there before the binding, or is another binding's.
	theirs
	// overwritten: the binding's first write went into a Secret that someone else had just made.
	overwritten
)

// ownerOf decides whose a Secret is, by the status of binding b as the server has it.
func ownerOf(s Secret, b *v1alpha1.ConfluenceTokenBinding) owner {
	switch {
	case strayed(s, b):
		return ours // the next write puts the reference right
	case !metav1.IsControlledBy(s.meta, b):
		return theirs
	case b.Status.ExpiresAt == nil && madeBefore(s.meta):
		return overwritten // the answer to the first write was lost, or we ended before we could take it back
	}
	return ours
}

// strayed reports whether a Secret that nothing controls is the binding's own: all else is as the operator wrote it, and the token
// is the one that status speaks of. A copy has not our fields, and a binding that was made anew has no such status.
func strayed(s Secret, b *v1alpha1.ConfluenceTokenBinding) bool {
	st := &b.Status
	if metav1.GetControllerOf(s.meta) != nil || !s.whole || st.IssuedAt == nil || st.ExpiresAt == nil {
		return false
	}
	return st.IssuedAt.Time.Equal(s.Held.Life.IssuedAt) && st.ExpiresAt.Time.Equal(s.Held.Life.ExpiresAt)
}

// maker finds who else made a Secret: only its maker owns its type, or applied data. Anyone who changed a Secret of ours owns
// neither.
func maker(m *metav1.PartialObjectMetadata) (metav1.ManagedFieldsEntry, bool) {
	for _, e := range m.ManagedFields {
		if e.Manager == v1alpha1.FieldManager {
			continue
		}
		if o := secretmeta.Parse(e); o.Type != nil || e.Operation == metav1.ManagedFieldsOperationApply && o.Data != nil {
			return e, true
		}
	}
	return metav1.ManagedFieldsEntry{}, false
}

// madeBefore reports whether someone else owned a Secret from its first second on.
func madeBefore(m *metav1.PartialObjectMetadata) bool {
	e, ok := maker(m)
	return ok && e.Time != nil && !e.Time.After(m.CreationTimestamp.Time)
}

// labels are those of the Secret.
func labels(b *v1alpha1.ConfluenceTokenBinding) map[string]string {
	labels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	for k, v := range b.Spec.Secret.Labels {
		labels[k] = string(v)
	}
	return labels
}

func formats(b *v1alpha1.ConfluenceTokenBinding) []tokenfile.Format {
	formats := make([]tokenfile.Format, len(b.Spec.Secret.Formats))
	for i, f := range b.Spec.Secret.Formats {
		formats[i] = tokenfile.Format(f)
	}
	return formats
}
