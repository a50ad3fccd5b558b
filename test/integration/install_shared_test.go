// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// jira is a second install in the same zone; it is not created yet.
func (w *world) jira() *v1alpha1.KeycardResource {
	r := w.install()
	r.Name, r.Spec.CatalogEntry, r.Spec.DeletionPolicy = "jira", "jira", v1alpha1.DeletionDelete
	return r
}

func (w *world) provider() (keycard.Provider, bool) {
	w.t.Helper()
	p, found, err := w.admin().FindProvider(w.ctx, w.zone.ZoneID, providerIdentifier)
	must(w.t, err)
	return p, found
}

// One provider serves all installs of an upstream. It outlives the install that made it while another uses it, which
// takes it over, and goes with the last.
func TestSharedProvider(t *testing.T) {
	w := newWorld(t)
	confluence, jira := w.install(), w.jira()
	confluence.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must(t, w.k8s.Create(w.ctx, confluence))
	must(t, w.k8s.Create(w.ctx, jira))
	w.reconcileResource(confluence)
	w.reconcileResource(jira)
	w.expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonShared)
	w.expect(jira, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if jira.Status.ProviderID != confluence.Status.ProviderID || jira.Status.OAuthAppHash != "" {
		t.Errorf("jira uses provider %s and remembers %q, confluence uses %s", jira.Status.ProviderID, jira.Status.OAuthAppHash, confluence.Status.ProviderID)
	}

	must(t, w.k8s.Delete(w.ctx, confluence))
	w.reconcileResource(confluence)
	if _, found := w.provider(); !found {
		t.Fatal("the provider went, though jira uses it")
	}
	w.events.take()
	w.reconcileResource(jira)
	w.expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	if p, _ := w.provider(); !strings.Contains(p.Description, w.ns+"/jira]") {
		t.Errorf("the provider is still described as %s", p.Description)
	}
	if e := w.events.take(); len(e) > 0 {
		t.Errorf("taking over is announced as %v", e)
	}

	must(t, w.k8s.Delete(w.ctx, jira))
	w.reconcileResource(jira)
	if p, found := w.provider(); found {
		t.Errorf("the provider is left: %+v", p)
	}
}

// An install with another OAuth app is told whose provider is in its way, and changes nothing.
func TestProviderOfAnotherInstall(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.secret("other-app", "other-client", "other-secret")
	jira := w.jira()
	jira.Spec.OAuthAppSecretRef.Name = "other-app"
	must(t, w.k8s.Create(w.ctx, jira))
	w.requests.take()
	w.reconcileResource(jira)
	message := w.expect(jira, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonProviderConflict)
	for _, part := range []string{"KeycardResource " + w.ns + "/confluence", "other-client", "atlassian-app"} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if r := remoteWrites(w.requests.take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
}

// A second install of the same entry is told whose resource is in its way; renamed, it takes over when it is told to.
func TestResourceOfAnotherInstall(t *testing.T) {
	w := newWorld(t)
	first, _ := w.ready()
	second := w.install()
	second.Name = "renamed"
	must(t, w.k8s.Create(w.ctx, second))
	w.requests.take()
	w.reconcileResource(second)
	message := w.expect(second, v1alpha1.ConditionResourceRegistered, metav1.ConditionFalse, v1alpha1.ReasonIdentifierInUse)
	if !strings.Contains(message, "belongs to KeycardResource "+w.ns+"/confluence") {
		t.Errorf("the message does not name the owner: %s", message)
	}
	if r := remoteWrites(w.requests.take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}

	must(t, w.k8s.Delete(w.ctx, first)) // Retain
	w.edit(second, func(s *v1alpha1.KeycardResourceSpec) { s.AdoptionPolicy = v1alpha1.AdoptionAdopt })
	w.expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if second.Status.ResourceID != first.Status.ResourceID || second.Status.ProviderID != first.Status.ProviderID {
		t.Errorf("took over %s and %s, there were %s and %s", second.Status.ResourceID, second.Status.ProviderID, first.Status.ResourceID, first.Status.ProviderID)
	}
}
