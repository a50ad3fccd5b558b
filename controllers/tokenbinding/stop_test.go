// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// A read that a stop of the operator cuts short is no failure of the cluster, and nothing is written about it.
func TestAReadThatAStopEndsIsNotReported(t *testing.T) {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "reports", Generation: 1}}
	b.Status.ObservedGeneration = 1
	ctx, stop := context.WithCancel(t.Context())
	writes := 0
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).WithStatusSubresource(b).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, secret := o.(*metav1.PartialObjectMetadata); secret {
				stop()
				return ctx.Err()
			}
			return c.Get(ctx, key, o, opts...)
		},
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			writes++
			return nil
		},
	}).Build()
	clock := clocktesting.NewFakeClock(noon)
	c := New(Deps{Client: cluster, Live: cluster, Clock: clock, Gates: throttle.New(1, clock), LookUps: throttle.New(1, clock)})
	_, err := c.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	if !errors.Is(err, context.Canceled) || writes != 0 {
		t.Errorf("%d writes of status; %v", writes, err)
	}
}
