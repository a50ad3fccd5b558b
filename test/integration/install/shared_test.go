// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// jira is a second install in the same zone; it is not created yet.
func jira(w *world.World) *v1alpha1.KeycardResource {
	r := w.Install()
	r.Name, r.Spec.CatalogEntry, r.Spec.DeletionPolicy = "jira", "jira", v1alpha1.DeletionDelete
	return r
}

func provider(w *world.World) (keycard.Provider, bool) {
	w.T.Helper()
	p, found, err := w.Admin().FindProvider(w.Ctx, w.Zone.ZoneID, world.ProviderIdentifier)
	must.Succeed(w.T, err)
	return p, found
}

// One provider serves all installs of an upstream. It outlives the install that made it while another uses it, which
// takes it over, and goes with the last.
func TestSharedProvider(t *testing.T) {
	w := world.New(t)
	confluence, jira := w.Install(), jira(w)
	confluence.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must.Succeed(t, w.K8s.Create(w.Ctx, confluence))
	must.Succeed(t, w.K8s.Create(w.Ctx, jira))
	w.ReconcileResource(confluence)
	w.ReconcileResource(jira)
	w.Expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonShared)
	w.Expect(jira, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if jira.Status.ProviderID != confluence.Status.ProviderID || jira.Status.OAuthAppHash != "" {
		t.Errorf("jira uses provider %s and remembers %q, confluence uses %s", jira.Status.ProviderID, jira.Status.OAuthAppHash, confluence.Status.ProviderID)
	}

	must.Succeed(t, w.K8s.Delete(w.Ctx, confluence))
	w.ReconcileResource(confluence)
	if _, found := provider(w); !found {
		t.Fatal("the provider went, though jira uses it")
	}
	w.Events.Take()
	w.ReconcileResource(jira)
	w.Expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	if p, _ := provider(w); !strings.Contains(p.Description, w.NS+"/jira]") {
		t.Errorf("the provider is still described as %s", p.Description)
	}
	if e := w.Events.Take(); len(e) > 0 {
		t.Errorf("taking over is announced as %v", e)
	}

	must.Succeed(t, w.K8s.Delete(w.Ctx, jira))
	w.ReconcileResource(jira)
	if p, found := provider(w); found {
		t.Errorf("the provider is left: %+v", p)
	}
}

// An install with another OAuth app is told whose provider is in its way, and changes nothing.
func TestProviderOfAnotherInstall(t *testing.T) {
	w := world.New(t)
	w.Ready()
	w.Secret("other-app", "other-client", "other-secret")
	jira := jira(w)
	jira.Spec.OAuthAppSecretRef.Name = "other-app"
	must.Succeed(t, w.K8s.Create(w.Ctx, jira))
	w.Requests.Take()
	w.ReconcileResource(jira)
	message := w.Expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonProviderConflict)
	for _, part := range []string{"KeycardResource " + w.NS + "/confluence", "other-client", "atlassian-app"} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
}

// A second install of the same entry is told whose resource is in its way; renamed, it takes over when it is told to.
func TestResourceOfAnotherInstall(t *testing.T) {
	w := world.New(t)
	first, _ := w.Ready()
	second := w.Install()
	second.Name = "renamed"
	must.Succeed(t, w.K8s.Create(w.Ctx, second))
	w.Requests.Take()
	w.ReconcileResource(second)
	message := w.Expect(second, v1alpha1.ConditionResourceRegistered, metav1.ConditionFalse, v1alpha1.ReasonIdentifierInUse)
	if !strings.Contains(message, "belongs to KeycardResource "+w.NS+"/confluence") {
		t.Errorf("the message does not name the owner: %s", message)
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}

	must.Succeed(t, w.K8s.Delete(w.Ctx, first)) // Retain
	edit(w, second, func(s *v1alpha1.KeycardResourceSpec) { s.AdoptionPolicy = v1alpha1.AdoptionAdopt })
	w.Expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if second.Status.ResourceID != first.Status.ResourceID || second.Status.ProviderID != first.Status.ProviderID {
		t.Errorf("took over %s and %s, there were %s and %s", second.Status.ResourceID, second.Status.ProviderID, first.Status.ResourceID, first.Status.ProviderID)
	}
}
