// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"time"

	"k8s.io/utils/ptr"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/access"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// step names the condition that a problem belongs to.
type step = string

const (
	stepCredentials  step = v1alpha1.ConditionCredentialsValid
	stepProvider     step = v1alpha1.ConditionProviderRegistered
	stepResource     step = v1alpha1.ConditionResourceRegistered
	stepApplications step = v1alpha1.ConditionApplicationsRegistered
	stepPolicies     step = v1alpha1.ConditionPoliciesApplied
	// stepPlan comes before all others; its problems are shown by ResourceRegistered.
	stepPlan step = "plan"
)

// scope is what one reconcile knows of one install.
type scope struct {
	access.Install
	// before is the object as the server has it, and memory what this process knows of it.
	before *v1alpha1.KeycardResource
	memory *memory

	// entry and scopes are what to install.
	entry  catalog.Entry
	scopes []string
	// serviceAccount is the credential for the zone, app the upstream's OAuth app.
	serviceAccount, app credentials.Client
	// shared is true when the provider is someone else's, rotated when it got a changed OAuth app.
	shared, rotated bool
}

func newScope(resource *v1alpha1.KeycardResource, zones *remote.Zones, now time.Time, clusterID string) *scope {
	zone := &resource.Spec.Zone
	return &scope{before: resource, Install: access.Install{
		Object: resource.DeepCopy(), Found: resource.Status, Now: now, ClusterID: clusterID,
		Zone: zones.Look(zone.ManagementURL(), zone.ID, resource.Spec.ManagementPolicy == v1alpha1.ManagementObserve),
	}}
}

// settled reports whether the object was Ready for this generation when the reconcile began: what
// differs now was changed at the zone.
func (s *scope) settled() bool { return s.wasTrue(v1alpha1.ConditionReady) }

func (s *scope) suspended() bool { return ptr.Deref(s.Object.Spec.Suspend, false) }

// memory is what this process knows of one install. Only the reconcile of the install uses it.
type memory struct {
	// written is what was written last of the object.
	written ownwrites.Latest[*v1alpha1.KeycardResource]
	// failures counts failed attempts to install in a row, removals those to remove.
	failures, removals int
	// management is the client that the zone accepted: for a deletion after the Secret is gone.
	management *keycard.ManagementClient
}
