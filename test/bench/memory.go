// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unrelatedBytes is the size of the values of an unrelated Secret, such as one with a certificate and its key.
const unrelatedBytes = 4 << 10

// memory measures what bindings and Secrets of other people cost the operator, each after a start, so that what was done
// before does not count.
func (b *bench) memory(ctx context.Context) (err error) {
	if err := b.startAfresh(ctx); err != nil {
		return err
	}
	if b.fullRSS, err = residentBytes(b.operator.PID(), now); err != nil {
		return err
	}
	b.Say("%d unrelated Secrets", b.unrelated)
	if err := b.stopOperator(); err != nil {
		return err
	}
	if err := b.makeUnrelated(ctx); err != nil {
		return err
	}
	err = b.atNoExchange("restart beside unrelated Secrets", func() error { return b.startAfresh(ctx) })
	if err != nil {
		return err
	}
	crowded, err := residentBytes(b.operator.PID(), now)
	if err != nil {
		return err
	}
	peak, err := residentBytes(b.operator.PID(), most)
	if err != nil {
		return err
	}
	b.figures.add("memory (RSS) after a start", "%.0f MB without bindings, %.0f MB with %d: %.1f kB per binding",
		megabytes(b.emptyRSS), megabytes(b.fullRSS), b.bindings, float64(b.fullRSS-b.emptyRSS)/1e3/float64(b.bindings))
	b.figures.add(fmt.Sprintf("memory (RSS) with %d unrelated Secrets", b.unrelated), "%.0f MB, which is %+.1f MB; %.0f MB at most since the start",
		megabytes(crowded), megabytes(crowded-b.fullRSS), megabytes(peak))
	return b.stopOperator()
}

// startAfresh has the operator start and look at all bindings.
func (b *bench) startAfresh(ctx context.Context) error {
	if err := b.stopOperator(); err != nil {
		return err
	}
	if err := b.startOperator(ctx, b.lasting); err != nil {
		return err
	}
	return b.settle(ctx, b.bindings)
}

// makeUnrelated makes Secrets that nobody names.
func (b *bench) makeUnrelated(ctx context.Context) error {
	value := bytes.Repeat([]byte("x"), unrelatedBytes)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: unrelatedNamespace, Name: "certificate-of-some-service"}}
	if err := b.admin.Create(ctx, owner); err != nil {
		return fmt.Errorf("making an owner of unrelated Secrets: %w", err)
	}
	err := each(ctx, b.unrelated, adminAtOnce, func(ctx context.Context, i int) error {
		return b.admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: unrelatedNamespace, Name: fmt.Sprintf("certificate-of-some-service-%05d", i), OwnerReferences: owners(i, owner),
				Labels:      map[string]string{"app.kubernetes.io/managed-by": "somebody", "app.kubernetes.io/name": "some-service"},
				Annotations: map[string]string{"example.com/note": "of no interest to the operator, and not kept in its memory"},
			},
			Data: map[string][]byte{corev1.TLSCertKey: value},
		})
	})
	if err != nil {
		return fmt.Errorf("making unrelated Secrets: %w", err)
	}
	return nil
}

// owners gives every other Secret an owner, as cert-manager and External Secrets do theirs.
func owners(i int, owner *corev1.ConfigMap) []metav1.OwnerReference {
	if i%2 == 0 {
		return nil
	}
	return []metav1.OwnerReference{*metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap"))}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
