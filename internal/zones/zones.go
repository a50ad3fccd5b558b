// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package zones finds what an install trusts its zone by, and is trusted by: the certificate authorities of a private zone, and
// the service account.
package zones

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
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
		return nil, problem.Blocked(v1alpha1.ReasonCABundleInvalid,
			"%s holds no certificate in PEM (-----BEGIN CERTIFICATE-----); put the zone's certificate authority there", where)
	}
	return trusting, nil
}

func read(ctx context.Context, live client.Reader, namespace string, source *v1alpha1.CABundleSource) (bundle []byte, where string, err error) {
	var (
		kind, name, key string
		there           bool
	)
	if ref := source.ConfigMapKeyRef; ref != nil {
		var o corev1.ConfigMap
		kind, name, key = "ConfigMap", ref.Name, ref.Key
		err = live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &o)
		var text string
		text, there = o.Data[key]
		bundle = []byte(text)
	} else if ref := source.SecretKeyRef; ref != nil {
		var o corev1.Secret
		kind, name, key = "Secret", ref.Name, ref.Key
		err = live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &o)
		bundle, there = o.Data[key]
	}
	where = fmt.Sprintf("key %s of %s %s/%s", key, kind, namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, where, problem.Waiting(v1alpha1.ReasonCABundleInvalid, "%s %s/%s with the zone's certificate authority does not exist; create it with the key %s", kind, namespace, name, key)
	case err != nil:
		return nil, where, fmt.Errorf("reading %s %s/%s: %w", kind, namespace, name, err)
	case !there:
		return nil, where, problem.Blocked(v1alpha1.ReasonCABundleInvalid, "%s is missing; add it", where)
	}
	return bundle, where, nil
}
