// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

func object() *v1alpha1.KeycardResource {
	r := &v1alpha1.KeycardResource{}
	r.Namespace, r.Name, r.Generation = "platform", "confluence", 1
	return r
}

// installed is an object whose last reconcile went well.
func installed() *v1alpha1.KeycardResource {
	s := newScope(object(), &remote.Zones{}, time.Time{}, "cluster")
	s.report("", nil)
	return s.Object
}

func TestReport(t *testing.T) {
	passing := problem.Of(&keycard.Error{Class: keycard.Transient})
	blocked := problem.UnknownScope("confluence", []string{"x"}, nil)
	edited := func() *v1alpha1.KeycardResource { r := installed(); r.Generation = 2; return r }
	suspended := func(r *v1alpha1.KeycardResource) *v1alpha1.KeycardResource { r.Spec.Suspend = new(true); return r }
	tests := map[string]struct {
		object *v1alpha1.KeycardResource
		at     step
		p      *problem.Problem
		// want is Ready, CredentialsValid, ProviderRegistered, ResourceRegistered; mover
		// Reconciling or Stalled.
		want, mover string
	}{
		"all is well":                    {object(), "", nil, "True Ready, True Accepted, True Registered, True Registered", ""},
		"the zone is down at first":      {object(), stepCredentials, passing, "False ZoneUnreachable, Unknown ZoneUnreachable, Unknown Pending, Unknown Pending", "Reconciling"},
		"the provider is refused":        {object(), stepProvider, problem.ProviderOfOtherApp(problem.Provider{}, "x"), "False ProviderConflict, True Accepted, False ProviderConflict, Unknown Pending", "Stalled"},
		"the resource is refused":        {object(), stepResource, problem.IdentifierOfPlatform("x"), "False IdentifierInUse, True Accepted, True Registered, False IdentifierInUse", "Stalled"},
		"a Secret is missing":            {object(), stepCredentials, problem.SecretNotFound(types.NamespacedName{Name: "x"}, "x"), "False SecretNotFound, False SecretNotFound, Unknown Pending, Unknown Pending", "Reconciling"},
		"the spec makes no sense":        {object(), stepPlan, blocked, "False UnknownScope, Unknown Pending, Unknown Pending, False UnknownScope", "Stalled"},
		"an outage undoes nothing":       {installed(), stepProvider, passing, "True Ready, True Accepted, True Registered, True Registered", ""},
		"a lost Secret undoes no object": {installed(), stepCredentials, problem.SecretNotFound(types.NamespacedName{Name: "x"}, "x"), "False SecretNotFound, False SecretNotFound, True Registered, True Registered", "Reconciling"},
		"an outage after an edit":        {edited(), stepProvider, passing, "False ZoneUnreachable, True Accepted, Unknown ZoneUnreachable, Unknown Pending", "Reconciling"},
		"suspended":                      {suspended(installed()), "", nil, "True Suspended, True Accepted, True Registered, True Registered", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScope(tc.object, &remote.Zones{}, time.Time{}, "cluster")
			s.report(tc.at, tc.p)
			var got []string
			for _, conditionType := range []string{v1alpha1.ConditionReady, stepCredentials, stepProvider, stepResource} {
				c := meta.FindStatusCondition(s.Object.Status.Conditions, conditionType)
				got = append(got, fmt.Sprintf("%s %s", c.Status, c.Reason))
			}
			if text := strings.Join(got, ", "); text != tc.want {
				t.Errorf("reports %s, want %s", text, tc.want)
			}
			for _, mover := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
				if there := meta.IsStatusConditionTrue(s.Object.Status.Conditions, mover); there != (mover == tc.mover) {
					t.Errorf("%s is there: %v", mover, there)
				}
			}
		})
	}
}

// The marker tells objects of other clusters, namespaces and names apart.
func TestMarker(t *testing.T) {
	s := newScope(object(), &remote.Zones{}, time.Time{}, "cluster")
	if !s.Marker().In(s.Description()) || s.Marker().In("") || len(s.Description()) > 2048 {
		t.Errorf("description %q", s.Description())
	}
	other := object()
	other.Name = "confluence-2"
	for name, o := range map[string]*scope{
		"another cluster": newScope(object(), &remote.Zones{}, time.Time{}, "cluster2"), "another name": newScope(other, &remote.Zones{}, time.Time{}, "cluster"),
	} {
		if s.Marker().In(o.Description()) {
			t.Errorf("%s: taken for ours", name)
		}
	}
}
