// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/http"
	"net/url"
)

// Policy is a named access policy (/zones/{zone}/policies). Its text is in its versions.
type Policy struct {
	ID              string `json:"id"`
	OwnerType       string `json:"owner_type"`
	Name            string `json:"name"`
	Description     string `json:"description"`
	LatestVersionID string `json:"latest_version_id"`
	ArchivedAt      string `json:"archived_at"`
}

func (p Policy) objectID() string { return p.ID }

// PolicyVersion is one text of a policy. It never changes.
type PolicyVersion struct {
	ID            string `json:"id"`
	PolicyID      string `json:"policy_id"`
	SchemaVersion string `json:"schema_version"`
	CedarRaw      string `json:"cedar_raw"`
}

func (v PolicyVersion) objectID() string { return v.ID }

const (
	scopeZone  = "zone"
	modeShadow = "shadow"
)

// PolicySet is a named set of policies (/zones/{zone}/policy-sets). One version of one set is in force in the zone.
type PolicySet struct {
	ID        string `json:"id"`
	OwnerType string `json:"owner_type"`
	Name      string `json:"name"`
	// ScopeType is "zone", "resource", "user" or "session"; empty when the zone does not say.
	ScopeType string `json:"scope_type"`
	// Active says that the set is bound to something of its scope, in the Mode "active" or "shadow".
	Active          bool   `json:"active"`
	Mode            string `json:"mode"`
	ActiveVersionID string `json:"active_version_id"`
	LatestVersionID string `json:"latest_version_id"`
	ArchivedAt      string `json:"archived_at"`
}

func (s PolicySet) objectID() string { return s.ID }

// ZoneWide tells whether the set is one that decides in the whole zone when it is in force: it is neither for a resource, a
// user or a session alone, nor evaluated for the log only. A zone that does not say so has no other sets.
func (s PolicySet) ZoneWide() bool {
	return (s.ScopeType == "" || s.ScopeType == scopeZone) && s.Mode != modeShadow
}

// InForce tells whether the whole zone decides by a version of the set.
func (s PolicySet) InForce() bool { return s.ZoneWide() && s.Active && s.ActiveVersionID != "" }

// PolicySetVersion is one state of a policy set. It never changes.
type PolicySetVersion struct {
	ID            string   `json:"id"`
	PolicySetID   string   `json:"policy_set_id"`
	SchemaVersion string   `json:"schema_version"`
	Manifest      Manifest `json:"manifest"`
}

func (v PolicySetVersion) objectID() string { return v.ID }

// Manifest lists the policy versions of a set.
type Manifest struct {
	Entries []ManifestEntry `json:"entries"`
}

// ManifestEntry is one policy version in a set.
type ManifestEntry struct {
	PolicyID        string `json:"policy_id"`
	PolicyVersionID string `json:"policy_version_id"`
	SHA             string `json:"sha,omitempty"`
}

// ListPolicies returns the zone's own policies that keep admits.
func (m *ManagementClient) ListPolicies(ctx context.Context, zoneID string, keep func(Policy) bool) ([]Policy, error) {
	return listAll(ctx, m, "listing policies", url.Values{"filter[owner_type]": {OwnerCustomer}}, keep, "zones", zoneID, "policies")
}

// PolicyCreate is the body of a create request.
type PolicyCreate struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// CreatePolicy makes a policy without a text.
func (m *ManagementClient) CreatePolicy(ctx context.Context, zoneID string, p PolicyCreate) (Policy, error) {
	return exchangeObject[Policy](ctx, m, request{
		op: "creating the policy", method: http.MethodPost, path: []string{"zones", zoneID, "policies"}, body: p,
	})
}

// ArchivePolicy takes a policy out of use. It is no error when it is gone already.
func (m *ManagementClient) ArchivePolicy(ctx context.Context, zoneID, id string) error {
	return remove(ctx, m, "archiving the policy", "zones", zoneID, "policies", id)
}

// GetPolicyVersion reads a policy's text; IsNotFound tells when it does not exist.
func (m *ManagementClient) GetPolicyVersion(ctx context.Context, zoneID, policyID, id string) (PolicyVersion, error) {
	return exchangeObject[PolicyVersion](ctx, m, request{
		op: "getting the policy version", method: http.MethodGet,
		path: []string{"zones", zoneID, "policies", policyID, "versions", id}, query: url.Values{"format": {"cedar"}},
	})
}

// CreatePolicyVersion gives a policy a new text. A text that the zone refuses is an error of class Misconfigured.
func (m *ManagementClient) CreatePolicyVersion(ctx context.Context, zoneID, policyID, schemaVersion, cedar string) (PolicyVersion, error) {
	return exchangeObject[PolicyVersion](ctx, m, request{
		op: "creating the policy version", method: http.MethodPost, path: []string{"zones", zoneID, "policies", policyID, "versions"},
		body: map[string]string{"schema_version": schemaVersion, "cedar_raw": cedar},
	})
}

// ListPolicySets returns the zone's policy sets that keep admits.
func (m *ManagementClient) ListPolicySets(ctx context.Context, zoneID string, keep func(PolicySet) bool) ([]PolicySet, error) {
	return listAll(ctx, m, "listing policy sets", url.Values{}, keep, "zones", zoneID, "policy-sets")
}

// CreatePolicySet makes a policy set for the whole zone, without a version.
func (m *ManagementClient) CreatePolicySet(ctx context.Context, zoneID, name string) (PolicySet, error) {
	return exchangeObject[PolicySet](ctx, m, request{
		op: "creating the policy set", method: http.MethodPost, path: []string{"zones", zoneID, "policy-sets"},
		body: map[string]string{"name": name, "scope_type": scopeZone},
	})
}

// GetPolicySetVersion reads what is in a set.
func (m *ManagementClient) GetPolicySetVersion(ctx context.Context, zoneID, setID, id string) (PolicySetVersion, error) {
	return get[PolicySetVersion](ctx, m, "getting the policy set version", "zones", zoneID, "policy-sets", setID, "versions", id)
}

// CreatePolicySetVersion gives a set new contents, which are not in force yet.
func (m *ManagementClient) CreatePolicySetVersion(ctx context.Context, zoneID, setID, schemaVersion string, manifest Manifest) (PolicySetVersion, error) {
	return exchangeObject[PolicySetVersion](ctx, m, request{
		op: "creating the policy set version", method: http.MethodPost, path: []string{"zones", zoneID, "policy-sets", setID, "versions"},
		body: struct {
			SchemaVersion string   `json:"schema_version"`
			Manifest      Manifest `json:"manifest"`
		}{schemaVersion, manifest},
	})
}

// ActivatePolicySetVersion puts a version in force, in the place of whatever is.
func (m *ManagementClient) ActivatePolicySetVersion(ctx context.Context, zoneID, setID, id string) error {
	_, err := exchangeObject[PolicySetVersion](ctx, m, request{
		op: "activating the policy set version", method: http.MethodPatch,
		path: []string{"zones", zoneID, "policy-sets", setID, "versions", id}, body: map[string]bool{"active": true},
	})
	return err
}
