// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// A namespace that may not use an install any more gets no further token. The one it has stays until it expires, and status says
// why no other comes.
func TestAccessIsWithdrawn(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"confluence": "true"}}
	for name, withdraw := range map[string]func(w *world, install *v1alpha1.KeycardResource, ns *corev1.Namespace){
		"by allowedNamespaces": func(w *world, install *v1alpha1.KeycardResource, _ *corev1.Namespace) {
			install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}
			must(t, w.k8s.Update(w.ctx, install))
		},
		"by the namespace's label": func(w *world, _ *v1alpha1.KeycardResource, ns *corev1.Namespace) {
			ns.Labels = nil
			must(t, w.k8s.Update(w.ctx, ns))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-", Labels: selector.MatchLabels}}
			must(t, w.k8s.Create(w.ctx, ns))
			must(t, w.k8s.Create(w.ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "reports-app"},
				Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte("reports"), v1alpha1.ClientSecretKey: []byte(reportsSecret)},
			}))
			install, b := w.install(), w.binding("reports")
			install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}
			b.Namespace, b.Spec.ResourceRef.Namespace = ns.Name, w.ns
			must(t, w.k8s.Create(w.ctx, install))
			must(t, w.k8s.Create(w.ctx, b))
			w.reconcileResource(install)
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			before, expires := w.output(b), b.Status.ExpiresAt.Time
			withdraw(w, install, ns)
			w.requests.take()

			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(b, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
			w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			for w.clock.Now().Before(expires) {
				w.clock.Step(5 * time.Minute)
				w.reconcileBinding(b)
			}
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
			w.expect(b, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
			if after := w.output(b); !equality.Semantic.DeepEqual(before, after) {
				t.Errorf("the Secret changed: %v", keys(after))
			}
			if n := w.requests.count(exchanges); n != 0 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}
