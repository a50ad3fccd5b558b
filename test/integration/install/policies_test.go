// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// showPolicySets lists policy sets with the newest first, each as paint shows it.
func showPolicySets(paint func(set map[string]any)) func(*devzone.Config) {
	return func(c *devzone.Config) {
		recorded := c.APIMiddleware
		c.APIMiddleware = func(next http.Handler) http.Handler {
			return recorded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/policy-sets") {
					next.ServeHTTP(w, r)
					return
				}
				held := httptest.NewRecorder()
				next.ServeHTTP(held, r)
				var list struct {
					Items      []map[string]any `json:"items"`
					Pagination any              `json:"pagination"`
				}
				_ = json.Unmarshal(held.Body.Bytes(), &list)
				slices.Reverse(list.Items)
				for _, set := range list.Items {
					paint(set)
				}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(list)
			}))
		}
	}
}

// policySet makes a policy set by hand, which is not in force.
func policySet(w *world.World, name, schema string, entries ...keycard.ManifestEntry) {
	w.T.Helper()
	set, err := w.Admin().CreatePolicySet(w.Ctx, w.Zone.ZoneID, name)
	must.Succeed(w.T, err)
	_, err = w.Admin().CreatePolicySetVersion(w.Ctx, w.Zone.ZoneID, set.ID, schema, keycard.Manifest{Entries: entries})
	must.Succeed(w.T, err)
}

// policySetNamed gives a policy set with its latest version.
func policySetNamed(w *world.World, name string) (keycard.PolicySet, keycard.PolicySetVersion) {
	w.T.Helper()
	sets, err := w.Admin().ListPolicySets(w.Ctx, w.Zone.ZoneID, func(p keycard.PolicySet) bool { return p.Name == name })
	must.Succeed(w.T, err)
	if len(sets) != 1 {
		w.T.Fatalf("%d policy sets are named %s", len(sets), name)
	}
	version, err := w.Admin().GetPolicySetVersion(w.Ctx, w.Zone.ZoneID, sets[0].ID, sets[0].LatestVersionID)
	must.Succeed(w.T, err)
	return sets[0], version
}

// Sets that are not in force in the whole zone are neither copied into what is, nor activated for the whole zone, wherever
// they stand in the list.
func TestPolicySetsOfOtherScopes(t *testing.T) {
	tests := map[string]struct {
		// shows is what the zone says of somebody's set, and of a twin of the operator's where there is one.
		shows map[string]any
		twin  bool
	}{
		"for a resource":   {map[string]any{"scope_type": "resource", "scope_target_id": "res", "active": true, "mode": "active"}, true},
		"for a user":       {map[string]any{"scope_type": "user", "active": true, "mode": "active"}, true},
		"a shadow":         {map[string]any{"scope_type": "zone", "active": true, "mode": "shadow"}, true},
		"without version":  {map[string]any{"scope_type": "zone", "active": true, "mode": "active", "active_version_id": nil}, false},
		"a shadow, unsaid": {map[string]any{"scope_type": nil, "active": true, "mode": "shadow"}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, showPolicySets(func(set map[string]any) {
				if set["name"] != "theirs" && set["name"] != "twin" {
					return
				}
				set["active_version_id"] = set["latest_version_id"]
				for k, v := range tc.shows {
					set[k] = v
				}
			}))
			resource := w.Install()
			resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "not-alice", Cedar: forbidAlice}}
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			w.ReconcileResource(resource)
			w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionTrue, v1alpha1.ReasonApplied)
			own, ours := policySetNamed(w, "keycard-operator")
			if tc.twin {
				policySet(w, "twin", ours.SchemaVersion, ours.Manifest.Entries...)
			}
			policySet(w, "theirs", ours.SchemaVersion, ours.Manifest.Entries[0])

			w.Requests.Take()
			w.ReconcileResource(resource)
			if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
				t.Errorf("took somebody's set for the one in force: %v", r)
			}

			before, _ := policySetNamed(w, "seed-zone-policies")
			must.Succeed(t, w.Admin().ActivatePolicySetVersion(w.Ctx, w.Zone.ZoneID, before.ID, before.LatestVersionID))
			w.Requests.Take()
			w.ReconcileResource(resource)
			w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			for _, r := range remoteWrites(w.Requests.Take()) {
				if strings.Contains(r, "/policy-sets") && !strings.Contains(r, own.ID) {
					t.Errorf("changed a set of others: %s", r)
				}
			}
			if own, _ = policySetNamed(w, "keycard-operator"); !own.InForce() {
				t.Errorf("the operator's set is not in force: %+v", own)
			}
		})
	}
}

// A zone that was just made has no policy set in force for some seconds. That passes; in an older zone somebody has to
// activate one.
func TestPoliciesOfAFreshZone(t *testing.T) {
	bare := true
	w := world.New(t, showPolicySets(func(set map[string]any) {
		if bare {
			set["active"], set["active_version_id"], set["mode"] = false, nil, nil
		}
	}))
	resource := w.Install()
	resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "not-alice", Cedar: forbidAlice}}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	for until := w.Clock.Now().Add(4 * time.Minute); w.Clock.Now().Before(until); {
		wait := w.ReconcileResource(resource).RequeueAfter
		w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionUnknown, v1alpha1.ReasonProgressingWithRetry)
		w.Absent(resource, v1alpha1.ConditionStalled)
		if wait <= 0 || wait > 2*time.Minute {
			t.Fatalf("looks again after %s", wait)
		}
		w.Clock.Step(wait)
	}
	w.Clock.Step(5 * time.Minute)
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonRequestRejected)
	bare = false
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A set that the operator's own is named like, but which is not for the whole zone, is not used for it.
func TestPolicySetOfTheOperatorsName(t *testing.T) {
	w := world.New(t, showPolicySets(func(set map[string]any) {
		if set["created_by"] == "operator" && set["latest_version"] == nil {
			set["scope_type"] = "resource"
		}
	}))
	theirs, err := w.Admin().CreatePolicySet(w.Ctx, w.Zone.ZoneID, "keycard-operator")
	must.Succeed(t, err)
	resource := w.Install()
	resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "not-alice", Cedar: forbidAlice}}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.Requests.Take()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionTrue, v1alpha1.ReasonApplied)
	for _, r := range remoteWrites(w.Requests.Take()) {
		if strings.Contains(r, theirs.ID) {
			t.Errorf("used a set for a resource: %s", r)
		}
	}
}

// A policy that left the spec goes, also when the zone failed to archive it at first.
func TestLastPolicyIsArchivedInTheEnd(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "not-alice", Cedar: forbidAlice}}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.ReconcileResource(resource)
	id := resource.Status.Policies[0].ID
	undo := w.Requests.Answer("api DELETE /zones/"+w.Zone.ZoneID+"/policies", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.Policies = nil })
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonZoneUnreachable)
	undo()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	left, err := w.Admin().ListPolicies(w.Ctx, w.Zone.ZoneID, func(p keycard.Policy) bool { return p.ID == id && p.ArchivedAt == "" })
	must.Succeed(t, err)
	if len(left) > 0 || len(resource.Status.Policies) > 0 {
		t.Errorf("there are %+v, and status has %+v", left, resource.Status.Policies)
	}
}
