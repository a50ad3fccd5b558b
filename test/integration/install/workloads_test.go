// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// clusterKeys gives the cluster's provider, and where it says that the keys are.
func clusterKeys(w *world.World) (provider keycard.Provider, jwksURI string) {
	w.T.Helper()
	p, found, err := w.Admin().FindProvider(w.Ctx, w.Zone.ZoneID, world.ClusterIssuer)
	must.Succeed(w.T, err)
	if !found {
		w.T.Fatal("the cluster is not registered")
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
	w := world.New(t, ownZone("zn-keys"))
	confluence, jira := w.Install(), jira(w)
	confluence.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: keys}
	jira.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{}
	must.Succeed(t, w.K8s.Create(w.Ctx, confluence))
	must.Succeed(t, w.K8s.Create(w.Ctx, jira))
	b := w.Binding("workload")
	b.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	look := func(r *v1alpha1.KeycardResource, want string) (events []string) {
		t.Helper()
		w.Events.Take()
		w.ReconcileResource(r)
		w.Expect(r, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if _, got := clusterKeys(w); got != want {
			t.Errorf("the keys are at %q, want %q", got, want)
		}
		return w.Events.Take()
	}
	look(confluence, keys)
	look(jira, keys)
	look(jira, keys)

	edit(w, confluence, func(s *v1alpha1.KeycardResourceSpec) { s.WorkloadRegistration.JWKSURI = "" })
	if e := look(confluence, ""); len(e) > 0 {
		t.Errorf("a changed spec is announced: %v", e)
	}

	move := func() {
		t.Helper()
		p, _ := clusterKeys(w)
		_, err := w.Admin().PatchProvider(w.Ctx, w.Zone.ZoneID, p.ID, keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{JWKSURI: keycard.Set(keys)}})
		must.Succeed(t, err)
	}
	move()
	w.Configure(func(d *keycardresource.Deps) { d.LiveNamespaces = true }) // an install elsewhere may want it
	look(jira, keys)
	w.Configure(func(d *keycardresource.Deps) { d.LiveNamespaces = false })
	if e := look(jira, ""); len(e) != 1 || !strings.Contains(e[0], "provider of the cluster: jwksURI") {
		t.Errorf("the drift is announced as %v", e)
	}

	move()
	edit(w, jira, func(s *v1alpha1.KeycardResourceSpec) { s.ManagementPolicy = v1alpha1.ManagementObserve })
	look(jira, keys)
}

// A zone that shows what it found at the issuer is not taken for one that somebody changed.
func TestKeysThatTheZoneFound(t *testing.T) {
	const keys = "https://kubernetes.example/openid/v1/jwks"
	w := world.New(t, ownZone("zn-found-keys"))
	resource := w.Install()
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: keys}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	b := w.Binding("workload")
	b.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	w.ReconcileResource(resource)
	p, _ := clusterKeys(w)
	w.Requests.Answer("api PATCH /zones/"+w.Zone.ZoneID+"/providers/"+p.ID, func(rw http.ResponseWriter, _ *http.Request) {
		world.WriteJSON(rw, `{"id":"`+p.ID+`","protocols":{"oauth2":{"jwks_uri":"`+keys+`"}}}`)
	})
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.WorkloadRegistration.JWKSURI = "" })
	w.Events.Take()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if e := w.Events.Take(); len(e) > 0 {
		t.Errorf("announced %v", e)
	}
}
