// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// clusterKeys publishes the keys that sign the cluster's ServiceAccount tokens where a zone can read them.
func clusterKeys(t *testing.T) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(cluster.Config)
	must(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys, err := k.Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		writeJSON(w, string(keys))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/jwks"
}

// mayActForAlice permits a workload of this cluster to act for her in her absence.
func (w *world) mayActForAlice(serviceAccount string) v1alpha1.AccessPolicy {
	return v1alpha1.AccessPolicy{Name: "reports-for-alice", Cedar: fmt.Sprintf(
		`permit (principal is Keycard::Application, action, resource)
when { context.impersonate && context has subject && context.subject.identifier == %q &&
  principal.identifier == "urn:kubernetes:%s:serviceaccount:%s:%s" };`, user, clusterID, w.ns, serviceAccount)}
}

// A binding that names a ServiceAccount needs no stored secret and no visit to the console: the install registers the
// workload, the operator requests a token for it, and the zone verifies it with the cluster's own keys. The
// ServiceAccount may come last.
func TestWorkloadIdentity(t *testing.T) {
	w := newWorld(t, realTime)
	o := w.startOperator()
	resource, binding := w.install(), w.binding("reports")
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: clusterKeys(t)}
	resource.Spec.Policies = []v1alpha1.AccessPolicy{w.mayActForAlice("wiki")}
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.untilReady(resource)
	w.eventually("the binding misses its ServiceAccount", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		c := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionTokenIssued)
		return c != nil && c.Reason == v1alpha1.ReasonServiceAccountNotFound && strings.Contains(c.Message, w.ns+"/wiki"), err
	})
	must(t, w.k8s.Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "wiki"}}))
	w.untilReady(binding)
	w.pages(w.output(binding))
	requested := 0
	for _, write := range o.writes.take() {
		if strings.Contains(write, "/serviceaccounts/") {
			requested++
			if !strings.HasSuffix(write, "/namespaces/"+w.ns+"/serviceaccounts/wiki/token") {
				t.Errorf("asked for %s", write)
			}
		}
	}
	if requested == 0 {
		t.Error("no token was requested")
	}
}
