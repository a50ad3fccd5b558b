// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// shippedAccount makes the reconcilers the operator's own ServiceAccount, with the permissions as they are shipped.
func shippedAccount(w *world.World) {
	w.T.Helper()
	world.ApplyShipped(w.T)
	var err error
	w.Account, err = world.Cluster.ServiceAccount(w.Ctx, "keycard-system", "keycard-operator", time.Hour)
	must.Succeed(w.T, err)
	readWithoutCache(w)
	w.Connect()
}

// readWithoutCache permits the reads that the operator makes of its cache, and reconcilers that are driven by hand make of the
// server.
func readWithoutCache(w *world.World) {
	w.T.Helper()
	const name = "reads-without-cache"
	meta := metav1.ObjectMeta{Name: name}
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"keycardresources", "confluencetokenbindings"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}},
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "keycard-system", Name: "keycard-operator"}},
		},
	} {
		must.Succeed(w.T, client.IgnoreAlreadyExists(w.K8s.Create(w.Ctx, o)))
	}
}
