// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// Who deletes an install's resource in the zone leaves its applications and the cluster's provider. They go with the
// install all the same.
func TestDeletionAfterTheResource(t *testing.T) {
	tests := map[string]struct {
		// after is what happens once the resource is deleted in the zone; foreign whether another one is there afterwards.
		after   func(*world.World, *v1alpha1.KeycardResource)
		foreign bool
	}{
		"nothing else": {after: func(*world.World, *v1alpha1.KeycardResource) {}},
		"the status is lost": {after: func(w *world.World, r *v1alpha1.KeycardResource) {
			r.Status = v1alpha1.KeycardResourceStatus{}
			must.Succeed(w.T, w.K8s.Status().Update(w.Ctx, r))
			w.Connect()
			w.ConsentPage()
		}},
		"made anew by hand": {foreign: true, after: func(w *world.World, _ *v1alpha1.KeycardResource) {
			_, err := w.Admin().CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{Identifier: world.ResourceIdentifier, Name: "By hand"})
			must.Succeed(w.T, err)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			declared := application(w, "urn:app:wiki")
			resource := consents(w)
			workload := w.Binding("workload")
			workload.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
			must.Succeed(t, w.K8s.Create(w.Ctx, workload))
			edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
				s.DeletionPolicy, s.WorkloadRegistration = v1alpha1.DeletionDelete, &v1alpha1.WorkloadRegistration{}
				s.Applications = []v1alpha1.ApplicationReference{{Identifier: declared.Identifier}}
			})
			if n := *resource.Status.Workloads; n != 1 || resource.Status.ConsentClientID == "" {
				t.Fatalf("registered %d workloads, and the client id %q", n, resource.Status.ConsentClientID)
			}

			must.Succeed(t, w.Admin().DeleteResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID))
			tc.after(w, resource)
			must.Succeed(t, w.K8s.Delete(w.Ctx, workload))
			must.Succeed(t, w.K8s.Delete(w.Ctx, w.Binding("reports")))
			must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
			w.ReconcileResource(resource)
			if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
				t.Errorf("the object is still there: %v", err)
			}
			ours := func(description string) bool { return strings.Contains(description, "[keycard-operator ") }
			apps, err := w.Admin().ListApplications(w.Ctx, w.Zone.ZoneID, func(a keycard.Application) bool { return ours(a.Description) })
			must.Succeed(t, err)
			providers, err := w.Admin().ListProviders(w.Ctx, w.Zone.ZoneID, func(p keycard.Provider) bool { return ours(p.Description) })
			must.Succeed(t, err)
			if len(apps)+len(providers) > 0 {
				t.Errorf("left in the zone are %+v and %+v", apps, providers)
			}
			if _, there := w.Objects(); there == 1 != tc.foreign {
				t.Errorf("a resource of that identifier is there: %d", there)
			}
			_, err = w.Admin().GetApplication(w.Ctx, w.Zone.ZoneID, declared.ID)
			must.Succeed(t, err)
		})
	}
}

// A resource that another install took over keeps the applications that it has.
func TestDeletionOfAnInstallThatWasTakenOver(t *testing.T) {
	w := world.New(t)
	first := consents(w, func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	second := w.Install()
	second.Name, second.Spec.AdoptionPolicy = "renamed", v1alpha1.AdoptionAdopt
	must.Succeed(t, w.K8s.Create(w.Ctx, second))
	w.ReconcileResource(second)
	w.Expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Binding("reports")))
	must.Succeed(t, w.K8s.Delete(w.Ctx, first))
	w.ReconcileResource(first)
	if app, _, found := consentApplication(w); !found || !depends(w, app.ID, second) {
		t.Errorf("the application for consent is there: %v, %+v", found, app)
	}
}
