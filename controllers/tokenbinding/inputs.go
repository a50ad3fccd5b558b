// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
)

// An attempt that failed is not repeated before its time, unless something changed that it depended on. The Secrets that it read
// change for no reason too: tools stamp annotations on them. So their versions only tell that it is time to look at the values.

// versions are those of the Secrets with the application's credential and the subject's token; empty where there is none.
type versions struct{ client, subject string }

// values are fingerprints of what was read of these Secrets; empty for what was not.
type values struct{ client, subject string }

// or takes from others what is not known.
func (v values) or(others values) values {
	return values{client: cmp.Or(v.client, others.client), subject: cmp.Or(v.subject, others.subject)}
}

// loadInputs notes the versions of the Secrets the exchange depends on, from their cached metadata.
func (r *Reconciler) loadInputs(ctx context.Context, s *scope) error {
	subject := s.binding.Spec.Subject
	s.inputs = fmt.Sprintf("%s|%s|%s/%d", s.inputs, s.want.Exchange, s.binding.UID, s.binding.Generation)
	if ref := s.binding.Spec.Application.ClientSecretRef; ref != nil {
		m, err := r.inputMeta(ctx, s, ref.Name)
		if err != nil {
			return err
		}
		s.versions.client = secretmeta.Version(m)
	}
	name := subjectSecret(subject)
	if name == "" {
		return nil
	}
	m, err := r.inputMeta(ctx, s, name)
	if err != nil {
		return err
	}
	s.versions.subject = secretmeta.Version(m)
	switch ref := subject.RefreshTokenSecretRef; {
	case ref == nil || !renewedHere(m, ref.Key):
		s.subjectVersion = s.versions.subject
	case s.secret.Held != nil: // what the operator writes itself is no reason to do anything
		s.versions.subject = string(m.UID) + "/renewed"
		s.subjectVersion = s.secret.Held.SubjectVersion
	default:
		s.versions.subject = string(m.UID) + "/renewed"
	}
	return nil
}

// inputMeta is the metadata of a Secret that the user writes; it is empty when there is none.
func (r *Reconciler) inputMeta(ctx context.Context, s *scope, name string) (*metav1.PartialObjectMetadata, error) {
	m := secretmeta.New(s.binding.Namespace, name)
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(m), m)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading metadata of Secret %s: %w", name, err)
	}
	return m, nil
}

// sameValues tells whether the Secrets hold what the last attempt read of them. Only those are looked at whose version is another,
// and once for each version.
func (r *Reconciler) sameValues(ctx context.Context, s *scope, last attempt) (bool, error) {
	app, subject := s.versions.client != last.versions.client, s.versions.subject != last.versions.subject
	if app && last.values.client == "" || subject && last.values.subject == "" {
		return false, nil // the attempt did not come to it
	}
	if app {
		if _, err := r.credential(ctx, s); unreadable(err) {
			return false, err
		}
	}
	if subject {
		if err := r.lookAtSubject(ctx, s); unreadable(err) {
			return false, err
		}
	}
	return (!app || s.values.client == last.values.client) && (!subject || s.values.subject == last.values.subject), nil
}

// lookAtSubject fingerprints the subject's token, without using it.
func (r *Reconciler) lookAtSubject(ctx context.Context, s *scope) error {
	ref := s.binding.Spec.Subject.RefreshTokenSecretRef
	if ref == nil {
		_, err := r.subjectToken(ctx, s)
		return err
	}
	token, err := credentials.ReadKey(ctx, r.Live, s.local(ref.Name), ref.Key, "the person's refresh token")
	if err == nil {
		s.values.subject = s.fingerprint(token.Reveal())
	}
	return err
}

// unreadable tells of an error that it says nothing about what is in a Secret.
func unreadable(err error) bool {
	_, found := errors.AsType[*problem.Problem](err)
	return err != nil && !found
}

// subjectSecret is the Secret with the subject's token; empty when there is none.
func subjectSecret(subject v1alpha1.Subject) string {
	switch {
	case subject.AccessTokenSecretRef != nil:
		return subject.AccessTokenSecretRef.Name
	case subject.RefreshTokenSecretRef != nil:
		return subject.RefreshTokenSecretRef.Name
	}
	return ""
}

// inputSecrets lists the Secrets that the spec refers to.
func inputSecrets(b *v1alpha1.ConfluenceTokenBinding) []string {
	var names []string
	if ref := b.Spec.Application.ClientSecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	for _, ref := range []*v1alpha1.SecretKeyReference{b.Spec.Subject.AccessTokenSecretRef, b.Spec.Subject.RefreshTokenSecretRef} {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}
