// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// clusterKeys gives the cluster's provider, and where it says that the keys are.
func (w *world) clusterKeys() (provider keycard.Provider, jwksURI string) {
	w.t.Helper()
	p, found, err := w.admin().FindProvider(w.ctx, w.zone.ZoneID, clusterIssuer)
	must(w.t, err)
	if !found {
		w.t.Fatal("the cluster is not registered")
	}
	return p, p.Protocols.OAuth2.JWKSURI
}

// ownZone gives the zone an id of its own, so that installs of other worlds are not in it.
func ownZone(id string) func(*devzone.Config) {
	return func(c *devzone.Config) {
		c.Seed = seed.Default()
		c.Seed.Zone.ID = id
	}
}

// The zone looks for the cluster's keys at the issuer again when the last install that said otherwise does not any more.
func TestKeysOfTheCluster(t *testing.T) {
	const keys = "https://kubernetes.example/keys"
	w := newWorld(t, ownZone("zn-keys"))
	confluence, jira := w.install(), w.jira()
	confluence.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: keys}
	jira.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{}
	must(t, w.k8s.Create(w.ctx, confluence))
	must(t, w.k8s.Create(w.ctx, jira))
	b := w.binding("workload")
	b.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must(t, w.k8s.Create(w.ctx, b))
	look := func(r *v1alpha1.KeycardResource, want string) (events []string) {
		t.Helper()
		w.events.take()
		w.reconcileResource(r)
		w.expect(r, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if _, got := w.clusterKeys(); got != want {
			t.Errorf("the keys are at %q, want %q", got, want)
		}
		return w.events.take()
	}
	look(confluence, keys)
	look(jira, keys)
	look(jira, keys)

	w.edit(confluence, func(s *v1alpha1.KeycardResourceSpec) { s.WorkloadRegistration.JWKSURI = "" })
	if e := look(confluence, ""); len(e) > 0 {
		t.Errorf("a changed spec is announced: %v", e)
	}

	move := func() {
		t.Helper()
		p, _ := w.clusterKeys()
		_, err := w.admin().PatchProvider(w.ctx, w.zone.ZoneID, p.ID, keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{JWKSURI: keycard.Set(keys)}})
		must(t, err)
	}
	move()
	w.resources.LiveNamespaces = true // an install elsewhere may want it
	look(jira, keys)
	w.resources.LiveNamespaces = false
	if e := look(jira, ""); len(e) != 1 || !strings.Contains(e[0], "provider of the cluster: jwksURI") {
		t.Errorf("the drift is announced as %v", e)
	}

	move()
	w.edit(jira, func(s *v1alpha1.KeycardResourceSpec) { s.ManagementPolicy = v1alpha1.ManagementObserve })
	look(jira, keys)
}

// A zone that shows what it found at the issuer is not taken for one that somebody changed.
func TestKeysThatTheZoneFound(t *testing.T) {
	const keys = "https://kubernetes.example/openid/v1/jwks"
	w := newWorld(t, ownZone("zn-found-keys"))
	resource := w.install()
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: keys}
	must(t, w.k8s.Create(w.ctx, resource))
	b := w.binding("workload")
	b.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must(t, w.k8s.Create(w.ctx, b))
	w.reconcileResource(resource)
	p, _ := w.clusterKeys()
	w.requests.answer("api PATCH /zones/"+w.zone.ZoneID+"/providers/"+p.ID, func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, `{"id":"`+p.ID+`","protocols":{"oauth2":{"jwks_uri":"`+keys+`"}}}`)
	})
	w.edit(resource, func(s *v1alpha1.KeycardResourceSpec) { s.WorkloadRegistration.JWKSURI = "" })
	w.events.take()
	w.reconcileResource(resource)
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if e := w.events.take(); len(e) > 0 {
		t.Errorf("announced %v", e)
	}
}
