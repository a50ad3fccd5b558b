// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A binding that names a ServiceAccount needs no stored secret and no visit to the console: the install registers the
// workload, the operator requests a token for it, and the zone verifies it with the cluster's own keys. The
// ServiceAccount may come last.
func TestWorkloadIdentity(t *testing.T) {
	w := world.New(t, world.RealTime)
	o := w.StartOperator()
	resource, binding := w.Install(), w.Binding("reports")
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: world.ClusterKeys(t)}
	resource.Spec.Policies = []v1alpha1.AccessPolicy{w.MayActForAlice("wiki")}
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.UntilReady(resource)
	w.Eventually("the binding misses its ServiceAccount", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		c := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionTokenIssued)
		return c != nil && c.Reason == v1alpha1.ReasonServiceAccountNotFound && strings.Contains(c.Message, w.NS+"/wiki"), err
	})
	must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "wiki"}}))
	w.UntilReady(binding)
	w.Pages(w.Output(binding))
	requested := 0
	for _, write := range o.Writes.Take() {
		if strings.Contains(write, "/serviceaccounts/") {
			requested++
			if !strings.HasSuffix(write, "/namespaces/"+w.NS+"/serviceaccounts/wiki/token") {
				t.Errorf("asked for %s", write)
			}
		}
	}
	if requested == 0 {
		t.Error("no token was requested")
	}
}
