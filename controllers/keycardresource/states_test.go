// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/golden"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// story is one install on its way through states.
type story struct{ resource *v1alpha1.KeycardResource }

func newStory() *story {
	return &story{&v1alpha1.KeycardResource{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "KeycardResource"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "platform", Name: "confluence", Generation: 1, UID: "9a1d1f0e-4c2b-4b7e-8a55-2f1d7c9b6e01",
			CreationTimestamp: metav1.NewTime(noon),
		},
		Spec: v1alpha1.KeycardResourceSpec{
			Zone:         v1alpha1.ZoneReference{ID: "zn-8f2c", ServiceAccountSecretRef: v1alpha1.LocalSecretReference{Name: "keycard-service-account"}},
			CatalogEntry: "confluence", OAuthAppSecretRef: v1alpha1.LocalSecretReference{Name: "confluence-oauth-app"},
		},
	}}
}

// begin reports that work has begun.
func (st *story) begin() *story { return st.step(func(s *scope) { s.progressing() }) }

// reconcile reports what a reconcile found, as Reconcile does.
func (st *story) reconcile(at step, p *problem.Problem) *story {
	return st.step(func(s *scope) {
		if s.Object.Status.ObservedGeneration == 0 {
			s.progressing()
		}
		if p == nil {
			s.Object.Status.ProviderID, s.Object.Status.ResourceID = "p7m2", "r4k9"
		}
		s.report(at, p)
	})
}

// edit changes the spec.
func (st *story) edit(change func(*v1alpha1.KeycardResourceSpec)) *story {
	change(&st.resource.Spec)
	st.resource.Generation++
	return st
}

// delete asks for the object's deletion, which its finalizer holds up.
func (st *story) delete() *story {
	st.resource.DeletionTimestamp, st.resource.Finalizers = new(metav1.NewTime(noon)), []string{v1alpha1.Finalizer}
	st.resource.Generation++
	return st
}

// step does something with the object as a reconcile does, at noon.
func (st *story) step(do func(*scope)) *story {
	s := newScope(st.resource, &remote.Zones{}, noon, "cluster")
	do(s)
	for i := range s.Object.Status.Conditions {
		s.Object.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon)
	}
	st.resource = s.Object
	return st
}

// The states that an install can be in, each as the API server has it. Tools that judge the health
// of an install are tested with these files.
func TestStates(t *testing.T) {
	down := problem.Of(&keycard.Error{Op: "listing providers", Class: keycard.Transient, Description: "timed out"})
	noSecret := problem.SecretNotFound(types.NamespacedName{Namespace: "platform", Name: "confluence-oauth-app"}, "the OAuth app's client id and secret", v1alpha1.ClientIDKey, v1alpha1.ClientSecretKey)
	rejected := problem.Of(&keycard.Error{Op: "getting a management API token", Class: keycard.Misconfigured, Code: "invalid_client", Management: true})
	taken := problem.IdentifierInUse("Confluence", "https://api.atlassian.com/ex/confluence", types.NamespacedName{})
	drifted := func(s *scope) {
		s.Zone.Note(stepResource, "resource", "scopes")
		s.report("", nil)
	}
	remove := func(spec *v1alpha1.KeycardResourceSpec) { spec.DeletionPolicy = v1alpha1.DeletionDelete }
	users := []v1alpha1.ConfluenceTokenBinding{{ObjectMeta: metav1.ObjectMeta{Namespace: "reports", Name: "reports"}}}
	suspend := func(spec *v1alpha1.KeycardResourceSpec) { spec.Suspend = new(true) }
	otherScopes := func(spec *v1alpha1.KeycardResourceSpec) {
		spec.Scopes = &v1alpha1.ScopeSelection{Add: []v1alpha1.Scope{"search:confluence"}}
	}
	observe := func(spec *v1alpha1.KeycardResourceSpec) { spec.ManagementPolicy = v1alpha1.ManagementObserve }
	healthy := func() *story { return newStory().begin().reconcile("", nil) }
	for name, st := range map[string]*story{
		"new":                               newStory(),
		"progressing":                       newStory().begin(),
		"waiting-for-a-secret":              newStory().reconcile(stepCredentials, noSecret),
		"never-registered":                  newStory().reconcile(stepProvider, down),
		"never-registered-needs-a-person":   newStory().reconcile(stepResource, taken),
		"healthy":                           healthy(),
		"healthy-and-the-zone-is-down":      healthy().reconcile(stepProvider, down),
		"a-secret-is-lost":                  healthy().reconcile(stepCredentials, noSecret),
		"needs-a-person":                    healthy().reconcile(stepCredentials, rejected),
		"recovered":                         healthy().reconcile(stepCredentials, rejected).reconcile("", nil),
		"drifted":                           healthy().edit(observe).step(drifted),
		"suspended":                         healthy().edit(suspend).reconcile("", nil),
		"suspended-before-it-was-there":     newStory().edit(suspend).begin().step(func(s *scope) { s.report("", nil) }),
		"suspended-not-seen-yet":            healthy().edit(suspend),
		"stale-generation":                  healthy().edit(otherScopes),
		"stale-generation-after-a-refusal":  newStory().reconcile(stepResource, taken).edit(otherScopes),
		"another-spec-and-the-zone-is-down": healthy().edit(otherScopes).reconcile(stepProvider, down),
		"another-spec-which-needs-a-person": healthy().edit(otherScopes).reconcile(stepPlan, problem.UnknownScope("confluence", []string{"search:confluense"}, []string{"search:confluence"})),
		"deleted-while-in-use":              healthy().edit(remove).delete().step(func(s *scope) { s.held(inUse(users)) }),
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := yaml.Marshal(st.resource)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join("testdata", "states", name+".yaml"), raw)
		})
	}
}
