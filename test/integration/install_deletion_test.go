// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Who deletes an install's resource in the zone leaves its applications and the cluster's provider. They go with the
// install all the same.
func TestDeletionAfterTheResource(t *testing.T) {
	tests := map[string]struct {
		// after is what happens once the resource is deleted in the zone; foreign whether another one is there afterwards.
		after   func(*world, *v1alpha1.KeycardResource)
		foreign bool
	}{
		"nothing else": {after: func(*world, *v1alpha1.KeycardResource) {}},
		"the status is lost": {after: func(w *world, r *v1alpha1.KeycardResource) {
			r.Status = v1alpha1.KeycardResourceStatus{}
			must(w.t, w.k8s.Status().Update(w.ctx, r))
			w.connect()
			w.resources.ConsentRedirectURIs = consentRedirectURIs
		}},
		"made anew by hand": {foreign: true, after: func(w *world, _ *v1alpha1.KeycardResource) {
			_, err := w.admin().CreateResource(w.ctx, w.zone.ZoneID, keycard.ResourceCreate{Identifier: resourceIdentifier, Name: "By hand"})
			must(w.t, err)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			declared := w.application("urn:app:wiki")
			resource := w.consents()
			workload := w.binding("workload")
			workload.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
			must(t, w.k8s.Create(w.ctx, workload))
			w.edit(resource, func(s *v1alpha1.KeycardResourceSpec) {
				s.DeletionPolicy, s.WorkloadRegistration = v1alpha1.DeletionDelete, &v1alpha1.WorkloadRegistration{}
				s.Applications = []v1alpha1.ApplicationReference{{Identifier: declared.Identifier}}
			})
			if n := *resource.Status.Workloads; n != 1 || resource.Status.ConsentClientID == "" {
				t.Fatalf("registered %d workloads, and the client id %q", n, resource.Status.ConsentClientID)
			}

			must(t, w.admin().DeleteResource(w.ctx, w.zone.ZoneID, resource.Status.ResourceID))
			tc.after(w, resource)
			must(t, w.k8s.Delete(w.ctx, workload))
			must(t, w.k8s.Delete(w.ctx, w.binding("reports")))
			must(t, w.k8s.Delete(w.ctx, resource))
			w.reconcileResource(resource)
			if err := w.k8s.Get(w.ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
				t.Errorf("the object is still there: %v", err)
			}
			ours := func(description string) bool { return strings.Contains(description, "[keycard-operator ") }
			apps, err := w.admin().ListApplications(w.ctx, w.zone.ZoneID, func(a keycard.Application) bool { return ours(a.Description) })
			must(t, err)
			providers, err := w.admin().ListProviders(w.ctx, w.zone.ZoneID, func(p keycard.Provider) bool { return ours(p.Description) })
			must(t, err)
			if len(apps)+len(providers) > 0 {
				t.Errorf("left in the zone are %+v and %+v", apps, providers)
			}
			if _, there := w.objects(); there == 1 != tc.foreign {
				t.Errorf("a resource of that identifier is there: %d", there)
			}
			_, err = w.admin().GetApplication(w.ctx, w.zone.ZoneID, declared.ID)
			must(t, err)
		})
	}
}

// A resource that another install took over keeps the applications that it has.
func TestDeletionOfAnInstallThatWasTakenOver(t *testing.T) {
	w := newWorld(t)
	first := w.consents(func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	second := w.install()
	second.Name, second.Spec.AdoptionPolicy = "renamed", v1alpha1.AdoptionAdopt
	must(t, w.k8s.Create(w.ctx, second))
	w.reconcileResource(second)
	w.expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	must(t, w.k8s.Delete(w.ctx, w.binding("reports")))
	must(t, w.k8s.Delete(w.ctx, first))
	w.reconcileResource(first)
	if app, _, found := w.consentApplication(); !found || !w.depends(app.ID, second) {
		t.Errorf("the application for consent is there: %v, %+v", found, app)
	}
}
