// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Source has a controller look at what requests gives for each Secret that changes. The controller's workers wait for the
// first list. Secrets that are there from the start are told to nobody: every object is looked at then.
func (c *Cache) Source(requests handler.MapFunc) source.SyncingSource {
	return &changes{Cache: c, requests: requests}
}

type changes struct {
	*Cache

	requests handler.MapFunc
}

func (*changes) String() string { return "changes of Secrets" }

// Start begins to listen.
func (s *changes) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.listen(func(key types.NamespacedName) {
		m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		for _, r := range s.requests(ctx, m) {
			queue.Add(r)
		}
	})
	return nil
}

// Before puts the cache before a client: it answers for the metadata of Secrets, the client for all else.
func (c *Cache) Before(next client.Client) client.Client { return reader{next, c} }

type reader struct {
	client.Client

	cache *Cache
}

// Get reads an object.
func (r reader) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok || m.GroupVersionKind() != corev1.SchemeGroupVersion.WithKind("Secret") {
		return r.Client.Get(ctx, key, o, options...) //nolint:wrapcheck // it stands in the way of nothing
	}
	found, ok := r.cache.Get(key)
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	*m = *found
	return nil
}
