// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tenancy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A namespace that may not use an install any more gets no further token. The one it has stays until it expires, and status says
// why no other comes.
func TestAccessIsWithdrawn(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"confluence": "true"}}
	for name, withdraw := range map[string]func(w *world.World, install *v1alpha1.KeycardResource, ns *corev1.Namespace){
		"by allowedNamespaces": func(w *world.World, install *v1alpha1.KeycardResource, _ *corev1.Namespace) {
			install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}
			must.Succeed(t, w.K8s.Update(w.Ctx, install))
		},
		"by the namespace's label": func(w *world.World, _ *v1alpha1.KeycardResource, ns *corev1.Namespace) {
			ns.Labels = nil
			must.Succeed(t, w.K8s.Update(w.Ctx, ns))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-", Labels: selector.MatchLabels}}
			must.Succeed(t, w.K8s.Create(w.Ctx, ns))
			must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "reports-app"},
				Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte("reports"), v1alpha1.ClientSecretKey: []byte(world.ReportsSecret)},
			}))
			install, b := w.Install(), w.Binding("reports")
			install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}
			b.Namespace, b.Spec.ResourceRef.Namespace = ns.Name, w.NS
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			must.Succeed(t, w.K8s.Create(w.Ctx, b))
			w.ReconcileResource(install)
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			before, expires := w.Output(b), b.Status.ExpiresAt.Time
			withdraw(w, install, ns)
			w.Requests.Take()

			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(b, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
			w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			for w.Clock.Now().Before(expires) {
				w.Clock.Step(5 * time.Minute)
				w.ReconcileBinding(b)
			}
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
			w.Expect(b, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
			if after := w.Output(b); !equality.Semantic.DeepEqual(before, after) {
				t.Errorf("the Secret changed: %v", world.Keys(after))
			}
			if n := w.Requests.Count(world.Exchanges); n != 0 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}
