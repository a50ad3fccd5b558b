// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// intercept puts functions before the client of the bindings' reconciler, as before a cache.
func (w *world) intercept(funcs interceptor.Funcs) {
	w.t.Helper()
	base, err := client.NewWithWatch(cluster.Config, client.Options{Scheme: scheme(w.t)})
	must(w.t, err)
	w.bindings.Client = interceptor.NewClient(base, funcs)
}

// hide has the cache not show a Secret yet, until the returned function is called.
func (w *world) hide(name string) (show func()) {
	hidden := true
	w.intercept(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if hidden && key.Name == name {
				return apierrors.NewNotFound(corev1.Resource("secrets"), name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	return func() { hidden = false }
}

// A Secret that was made a moment ago, so that the cache does not show it, is not overwritten. It costs one exchange.
func TestForeignSecretThatTheCacheDoesNotShow(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "reports-token"}, Data: map[string][]byte{"token": []byte("theirs")}}
	for _, o := range []client.Object{foreign, resource, binding} {
		must(t, w.k8s.Create(w.ctx, o))
	}
	w.reconcileResource(resource)
	show := w.hide(foreign.Name)
	for range 3 {
		w.reconcileBinding(binding)
		w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	}
	show()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	if s := w.output(binding); string(s.Data["token"]) != "theirs" || len(s.OwnerReferences) > 0 {
		t.Errorf("the foreign Secret was changed: %v", s)
	}
}

// A Secret that was made a moment ago with other keys than a token's is as it was afterwards, whoever reads it.
func TestForeignSecretOfOtherKeys(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "reports-token", Labels: map[string]string{"whose": "theirs"}},
		Data:       map[string][]byte{"password": []byte("theirs")},
	}
	for _, o := range []client.Object{foreign, resource, binding} {
		must(t, w.k8s.Create(w.ctx, o))
	}
	w.reconcileResource(resource)
	show := w.hide(foreign.Name)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	got := w.output(binding)
	got.ResourceVersion, got.ManagedFields = foreign.ResourceVersion, foreign.ManagedFields
	if !equality.Semantic.DeepEqual(got, foreign) {
		t.Errorf("the foreign Secret was changed: %v", got)
	}
	show()
	w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
}

// Another replica that wrote the Secret and no status a moment ago costs one exchange. The newer token is the one that lasts.
func TestOwnSecretThatTheCacheDoesNotShow(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	crashed := errors.New("crashed")
	w.intercept(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if b, ok := o.(*v1alpha1.ConfluenceTokenBinding); ok && b.Status.ExpiresAt != nil {
				return crashed
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	if _, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)}); !errors.Is(err, crashed) {
		t.Fatalf("the status was written: %v", err)
	}
	first := w.output(binding)
	w.connect()
	w.requests.take()
	show := w.hide(binding.Spec.Secret.Name)
	w.reconcileBinding(binding)
	show()
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	second := w.output(binding)
	if second.UID != first.UID || bytes.Equal(second.Data["token"], first.Data["token"]) {
		t.Error("the Secret does not have the newer token")
	}
	w.reconcileBinding(binding)
	if got := w.output(binding).ResourceVersion; got != second.ResourceVersion {
		t.Errorf("the Secret was written again: version %s, was %s", got, second.ResourceVersion)
	}
}
