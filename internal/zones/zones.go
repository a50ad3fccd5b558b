// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package zones finds what an install trusts its zone by, and is trusted by: the certificate authorities of a private zone, and
// the service account.
package zones

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Pool gives the clients that trust what the zone's caBundle says: pool itself when it says nothing. The bundle is
// read from the server each time. The error is an *problem.Problem, or one of the cluster.
func Pool(ctx context.Context, live client.Reader, pool *keycard.Pool, namespace string, source *v1alpha1.CABundleSource) (*keycard.Pool, error) {
	if source == nil {
		return pool, nil
	}
	bundle, where, err := read(ctx, live, namespace, source)
	if err != nil {
		return nil, err
	}
	trusting, err := pool.Trusting(bundle)
	if err != nil || len(bundle) == 0 {
		return nil, problem.CABundleInvalid(where)
	}
	return trusting, nil
}

func read(ctx context.Context, live client.Reader, namespace string, source *v1alpha1.CABundleSource) (bundle []byte, where problem.Place, err error) {
	var there bool
	where.Namespace = namespace
	if ref := source.ConfigMapKeyRef; ref != nil {
		var o corev1.ConfigMap
		where.Kind, where.Name, where.Key = "ConfigMap", ref.Name, ref.Key
		err = live.Get(ctx, where.NamespacedName, &o)
		var text string
		text, there = o.Data[ref.Key]
		bundle = []byte(text)
	} else if ref := source.SecretKeyRef; ref != nil {
		var o corev1.Secret
		where.Kind, where.Name, where.Key = "Secret", ref.Name, ref.Key
		err = live.Get(ctx, where.NamespacedName, &o)
		bundle, there = o.Data[ref.Key]
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, where, problem.CABundleNotFound(where)
	case err != nil:
		return nil, where, problem.Cluster("reading "+where.Object(), err)
	case !there:
		return nil, where, problem.CABundleKeyMissing(where)
	}
	return bundle, where, nil
}
