// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// A namespace that is deleted with everything in it goes within a minute, whatever goes first and whether or not the
// zone is there. While it is, nothing of ours stays in it.
func TestNamespaceDeletion(t *testing.T) {
	for name, zoneIsThere := range map[string]bool{"the zone is there": true, "the zone is gone": false} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.RealTime)
			w.StartOperator()
			resource, binding := w.Install(), w.Binding("reports")
			resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.UntilReady(resource)
			w.UntilReady(binding)
			if !zoneIsThere {
				must.Succeed(t, w.Zone.Close())
			}
			// The worst order: what is needed to enter the zone goes first.
			world.DeleteSecret("service-account")(w)
			start := time.Now()
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.NS}}
			must.Succeed(t, w.K8s.Delete(w.Ctx, ns))
			w.Eventually("the namespace is gone", func(ctx context.Context) (bool, error) {
				err := w.K8s.Get(ctx, client.ObjectKeyFromObject(ns), ns)
				return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
			})
			t.Logf("the namespace went in %s", time.Since(start).Round(100*time.Millisecond))
			if !zoneIsThere {
				if !strings.Contains(w.Logs.String(), resource.Status.ResourceID) {
					t.Error("the log does not name what is left in the zone")
				}
				return
			}
			if p, r := w.Objects(); p+r != 0 {
				t.Errorf("the zone still has %d providers and %d resources", p, r)
			}
		})
	}
}

// Whatever an install depends on is seen by a watch: the OAuth app, the bindings whose workloads are registered, the
// labels of their namespace.
func TestInstallFollowsItsInputs(t *testing.T) {
	w := world.New(t, world.RealTime)
	w.StartOperator()
	resource := w.Install()
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{Issuer: world.ClusterIssuer, JWKSURI: world.ClusterIssuer + "/keys"}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.UntilReady(resource)

	start, hash := time.Now(), resource.Status.OAuthAppHash
	var app corev1.Secret
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: "oauth-app"}, &app))
	app.Data[v1alpha1.ClientSecretKey] = []byte("rotated")
	must.Succeed(t, w.K8s.Update(w.Ctx, &app))
	w.Eventually("the rotation is in the zone", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(resource), resource)
		return resource.Status.OAuthAppHash != hash, err
	})
	t.Logf("the rotated secret was in the zone after %s", time.Since(start).Round(time.Millisecond))

	binding := w.Binding("workload")
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	registered := func(want int) {
		t.Helper()
		w.Eventually("the workloads are registered", func(context.Context) (bool, error) {
			apps, err := w.Admin().ListApplications(w.Ctx, w.Zone.ZoneID, func(a keycard.Application) bool { return strings.Contains(a.Description, "workload]") })
			return len(apps) == want, err
		})
	}
	registered(1)
	must.Succeed(t, w.K8s.Delete(w.Ctx, binding))
	registered(0)
}
