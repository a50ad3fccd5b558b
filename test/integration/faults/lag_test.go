// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A Secret that was made a moment ago, so that the cache does not show it, is not overwritten. It costs one exchange.
func TestForeignSecretThatTheCacheDoesNotShow(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "reports-token"}, Data: map[string][]byte{"token": []byte("theirs")}}
	for _, o := range []client.Object{foreign, resource, binding} {
		must.Succeed(t, w.K8s.Create(w.Ctx, o))
	}
	w.ReconcileResource(resource)
	show := w.Hide(foreign.Name)
	for range 3 {
		w.ReconcileBinding(binding)
		w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	}
	show()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	if s := w.Output(binding); string(s.Data["token"]) != "theirs" || len(s.OwnerReferences) > 0 {
		t.Errorf("the foreign Secret was changed: %v", s)
	}
}

// A Secret that was made a moment ago with other keys than a token's is as it was afterwards, whoever reads it.
func TestForeignSecretOfOtherKeys(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "reports-token", Labels: map[string]string{"whose": "theirs"}},
		Data:       map[string][]byte{"password": []byte("theirs")},
	}
	for _, o := range []client.Object{foreign, resource, binding} {
		must.Succeed(t, w.K8s.Create(w.Ctx, o))
	}
	w.ReconcileResource(resource)
	show := w.Hide(foreign.Name)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	got := w.Output(binding)
	got.ResourceVersion, got.ManagedFields = foreign.ResourceVersion, foreign.ManagedFields
	if !equality.Semantic.DeepEqual(got, foreign) {
		t.Errorf("the foreign Secret was changed: %v", got)
	}
	show()
	w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
}

// Another replica that wrote the Secret and no status a moment ago costs one exchange. The newer token is the one that lasts.
func TestOwnSecretThatTheCacheDoesNotShow(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	crashed := errors.New("crashed")
	w.Intercept(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if b, ok := o.(*v1alpha1.ConfluenceTokenBinding); ok && b.Status.ExpiresAt != nil {
				return crashed
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	if _, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)}); !errors.Is(err, crashed) {
		t.Fatalf("the status was written: %v", err)
	}
	first := w.Output(binding)
	w.Connect()
	w.Requests.Take()
	show := w.Hide(binding.Spec.Secret.Name)
	w.ReconcileBinding(binding)
	show()
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	second := w.Output(binding)
	if second.UID != first.UID || bytes.Equal(second.Data["token"], first.Data["token"]) {
		t.Error("the Secret does not have the newer token")
	}
	w.ReconcileBinding(binding)
	if got := w.Output(binding).ResourceVersion; got != second.ResourceVersion {
		t.Errorf("the Secret was written again: version %s, was %s", got, second.ResourceVersion)
	}
}
