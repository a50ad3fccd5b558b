// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

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
)

// A namespace that is deleted with everything in it goes within a minute, whatever goes first and whether or not the
// zone is there. While it is, nothing of ours stays in it.
func TestNamespaceDeletion(t *testing.T) {
	for name, zoneIsThere := range map[string]bool{"the zone is there": true, "the zone is gone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, realTime)
			w.startOperator()
			resource, binding := w.install(), w.binding("reports")
			resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.untilReady(resource)
			w.untilReady(binding)
			if !zoneIsThere {
				must(t, w.zone.Close())
			}
			// The worst order: what is needed to enter the zone goes first.
			deleteSecret("service-account")(w)
			start := time.Now()
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}
			must(t, w.k8s.Delete(w.ctx, ns))
			w.eventually("the namespace is gone", func(ctx context.Context) (bool, error) {
				err := w.k8s.Get(ctx, client.ObjectKeyFromObject(ns), ns)
				return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
			})
			t.Logf("the namespace went in %s", time.Since(start).Round(100*time.Millisecond))
			if !zoneIsThere {
				if !strings.Contains(w.logs.String(), resource.Status.ResourceID) {
					t.Error("the log does not name what is left in the zone")
				}
				return
			}
			if p, r := w.objects(); p+r != 0 {
				t.Errorf("the zone still has %d providers and %d resources", p, r)
			}
		})
	}
}

// Whatever an install depends on is seen by a watch: the OAuth app, the bindings whose workloads are registered, the
// labels of their namespace.
func TestInstallFollowsItsInputs(t *testing.T) {
	w := newWorld(t, realTime)
	w.startOperator()
	resource := w.install()
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{Issuer: clusterIssuer, JWKSURI: clusterIssuer + "/keys"}
	must(t, w.k8s.Create(w.ctx, resource))
	w.untilReady(resource)

	start, hash := time.Now(), resource.Status.OAuthAppHash
	var app corev1.Secret
	must(t, w.k8s.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: "oauth-app"}, &app))
	app.Data[v1alpha1.ClientSecretKey] = []byte("rotated")
	must(t, w.k8s.Update(w.ctx, &app))
	w.eventually("the rotation is in the zone", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(resource), resource)
		return resource.Status.OAuthAppHash != hash, err
	})
	t.Logf("the rotated secret was in the zone after %s", time.Since(start).Round(time.Millisecond))

	binding := w.binding("workload")
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must(t, w.k8s.Create(w.ctx, binding))
	registered := func(want int) {
		t.Helper()
		w.eventually("the workloads are registered", func(context.Context) (bool, error) {
			apps, err := w.admin().ListApplications(w.ctx, w.zone.ZoneID, func(a keycard.Application) bool { return strings.Contains(a.Description, "workload]") })
			return len(apps) == want, err
		})
	}
	registered(1)
	must(t, w.k8s.Delete(w.ctx, binding))
	registered(0)
}
