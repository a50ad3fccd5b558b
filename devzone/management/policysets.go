// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// policySetView is a policy set with what is in force of it.
type policySetView struct {
	ID              string     `json:"id"`
	ZoneID          string     `json:"zone_id"`
	OwnerType       string     `json:"owner_type"`
	Name            string     `json:"name"`
	ScopeType       string     `json:"scope_type"`
	ScopeTargetID   string     `json:"scope_target_id,omitempty"`
	CreatedAt       time.Time  `json:"created_at"`
	CreatedBy       string     `json:"created_by"`
	UpdatedAt       time.Time  `json:"updated_at"`
	UpdatedBy       string     `json:"updated_by,omitempty"`
	ArchivedAt      *time.Time `json:"archived_at,omitempty"`
	LatestVersion   int        `json:"latest_version,omitempty"`
	LatestVersionID string     `json:"latest_version_id,omitempty"`
	Active          bool       `json:"active"`
	ActiveVersion   int        `json:"active_version,omitempty"`
	ActiveVersionID string     `json:"active_version_id,omitempty"`
	Mode            string     `json:"mode,omitempty"`
	ShadowVersion   int        `json:"shadow_version,omitempty"`
	ShadowVersionID string     `json:"shadow_version_id,omitempty"`
}

func (v policySetView) tag() string { return entityTag(v) }

type policySetVersionView struct {
	ID            string       `json:"id"`
	OwnerType     string       `json:"owner_type"`
	PolicySetID   string       `json:"policy_set_id"`
	Version       int          `json:"version"`
	SchemaVersion string       `json:"schema_version"`
	Manifest      manifestView `json:"manifest"`
	ManifestSHA   string       `json:"manifest_sha"`
	Active        bool         `json:"active"`
	CreatedAt     time.Time    `json:"created_at"`
	CreatedBy     string       `json:"created_by"`
	ArchivedAt    *time.Time   `json:"archived_at,omitempty"`
	ArchivedBy    string       `json:"archived_by,omitempty"`
}

type manifestView struct {
	Entries []store.ManifestEntry `json:"entries"`
}

// policySetRoutes registers policy sets and their versions. One version of one
// set of each scope is in force in a zone; PATCH {"active":true} puts it there.
func (s *server) policySetRoutes() {
	const path = "/zones/{zone}/policy-sets"
	s.inZone("GET "+path, s.listPolicySets)
	s.inZone("POST "+path, s.createPolicySet)
	s.inZone("GET "+path+"/{id}", s.getPolicySet)
	s.inZone("PATCH "+path+"/{id}", s.updatePolicySet)
	s.inZone("DELETE "+path+"/{id}", s.archivePolicySet)
	s.inZone("GET "+path+"/{id}/versions", s.listPolicySetVersions)
	s.inZone("POST "+path+"/{id}/versions", s.createPolicySetVersion)
	s.inZone("GET "+path+"/{id}/versions/{version}", s.getPolicySetVersion)
	s.inZone("PATCH "+path+"/{id}/versions/{version}", s.activatePolicySetVersion)
	s.inZone("DELETE "+path+"/{id}/versions/{version}", s.archivePolicySetVersion)
	s.inZone("GET "+path+"/{id}/versions/{version}/policies", s.listPoliciesOfSet)
}

func policySetViewOf(tx *store.Tx, set store.PolicySet) policySetView {
	v := policySetView{
		ID: set.ID, ZoneID: set.ZoneID, OwnerType: set.OwnerType, Name: set.Name, ScopeType: set.ScopeType,
		CreatedAt: set.CreatedAt, CreatedBy: set.CreatedBy, UpdatedAt: set.UpdatedAt, UpdatedBy: set.UpdatedBy, ArchivedAt: set.ArchivedAt,
	}
	for _, version := range tx.PolicySetVersionsOf(set.ZoneID, set.ID) {
		v.LatestVersion, v.LatestVersionID = version.Version, version.ID
		if version.ID == set.ShadowVersionID {
			v.Mode, v.ShadowVersion, v.ShadowVersionID = "shadow", version.Version, version.ID
		}
		if version.ID == set.ActiveVersionID {
			v.Active, v.ActiveVersion, v.ActiveVersionID = true, version.Version, version.ID
		}
	}
	if v.Active {
		v.Mode = "active"
		if set.ScopeType == store.ScopeZone {
			v.ScopeTargetID = set.ZoneID
		}
	}
	return v
}

func (s *server) listPolicySets(r *http.Request) (any, error) {
	q := r.URL.Query()
	descending, err := parseOrder(q, "created_at", "status")
	if err != nil {
		return nil, err
	}
	keep, err := filterPolicySets(q)
	if err != nil {
		return nil, err
	}
	return policySets().list(s, r, descending, func(tx *store.Tx) ([]store.PolicySet, error) {
		found := tx.PolicySets.All(r.PathValue("zone"), keep)
		if q.Get("sort") == "status" {
			byStatus(found)
		}
		return found, nil
	})
}

// statusShift puts a set's status above its sequence number.
const statusShift = 60

// byStatus orders copies of sets: what is active, the shadow, the others, the
// archived. Cursors are sequence numbers, which therefore take part.
func byStatus(sets []store.PolicySet) {
	for i, set := range sets {
		rank := uint64(2)
		switch {
		case set.ActiveVersionID != "":
			rank = 0
		case set.ShadowVersionID != "":
			rank = 1
		case set.ArchivedAt != nil:
			rank = 3
		}
		sets[i].Seq |= rank << statusShift
	}
	slices.SortFunc(sets, func(a, b store.PolicySet) int { return cmp.Compare(a.Seq, b.Seq) })
}

// policySets is the kind of policy sets.
func policySets() policyKind[store.PolicySet, *store.PolicySet] {
	return policyKind[store.PolicySet, *store.PolicySet]{
		name:  "policy set",
		table: func(tx *store.Tx) *store.Table[store.PolicySet, *store.PolicySet] { return tx.PolicySets },
		state: func(set store.PolicySet) (string, *time.Time) { return set.OwnerType, set.ArchivedAt },
		view:  func(tx *store.Tx, set store.PolicySet) (any, error) { return policySetViewOf(tx, set), nil },
		find: func(tx *store.Tx, r *http.Request) (store.PolicySet, error) {
			return tx.PolicySets.Get(r.PathValue("zone"), r.PathValue("id"))
		},
	}
}

// policySetVersions is the kind of their versions.
func policySetVersions() policyKind[store.PolicySetVersion, *store.PolicySetVersion] {
	return policyKind[store.PolicySetVersion, *store.PolicySetVersion]{
		name: "policy set version",
		table: func(tx *store.Tx) *store.Table[store.PolicySetVersion, *store.PolicySetVersion] {
			return tx.PolicySetVersions
		},
		state: func(v store.PolicySetVersion) (string, *time.Time) { return v.OwnerType, v.ArchivedAt },
		view:  func(tx *store.Tx, v store.PolicySetVersion) (any, error) { return policySetVersionViewOf(tx, v), nil },
		find: func(tx *store.Tx, r *http.Request) (store.PolicySetVersion, error) {
			v, err := tx.PolicySetVersions.Get(r.PathValue("zone"), r.PathValue("version"))
			if err == nil && v.PolicySetID != r.PathValue("id") {
				err = &store.NotFoundError{Kind: "policy set version", ID: v.ID}
			}
			return v, err
		},
	}
}

func filterPolicySets(q url.Values) (func(store.PolicySet) bool, error) {
	if err := checkOwner(q); err != nil {
		return nil, err
	}
	active := q.Get("filter[active]")
	if active != "" && active != "true" && active != "false" {
		return nil, badRequest("filter[active]: must be true or false")
	}
	if scope := q.Get("filter[scope_type]"); scope != "" && isScopeType(scope) != "" {
		return nil, badRequest("filter[scope_type]: %s", isScopeType(scope))
	}
	return func(set store.PolicySet) bool {
		return equals(active, fmt.Sprint(set.ActiveVersionID != "")) && equals(q.Get("filter[owner_type]"), set.OwnerType) &&
			equals(q.Get("filter[scope_type]"), set.ScopeType)
	}, nil
}

var isScopeType = isOneOf(store.ScopeZone, "resource", "user", "session")

func (s *server) createPolicySet(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	set := store.PolicySet{
		Meta: store.Meta{ZoneID: r.PathValue("zone")}, OwnerType: store.OwnerCustomer, ScopeType: store.ScopeZone, CreatedBy: caller(r).ClientID,
	}
	o.text("name", true, &set.Name, isName)
	o.text("scope_type", false, &set.ScopeType, isScopeType)
	if err := o.err(); err != nil {
		return nil, err
	}
	return policySets().add(s, set)
}

func (s *server) getPolicySet(r *http.Request) (any, error) { return policySets().get(s, r) }

func (s *server) updatePolicySet(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	return policySets().change(s, r, func(_ *store.Tx, set *store.PolicySet) error {
		o.text("name", false, &set.Name, isName)
		set.UpdatedBy = caller(r).ClientID
		return o.err()
	})
}

func (s *server) archivePolicySet(r *http.Request) (any, error) {
	return policySets().change(s, r, func(_ *store.Tx, set *store.PolicySet) error {
		if set.ActiveVersionID != "" || set.ShadowVersionID != "" {
			return failure(http.StatusConflict, "in_use", "the policy set is in force in the zone: activate a version of another set first")
		}
		set.ArchivedAt, set.UpdatedBy = s.now(), caller(r).ClientID
		return nil
	})
}

func policySetVersionViewOf(tx *store.Tx, v store.PolicySetVersion) policySetVersionView {
	set, _ := tx.PolicySets.Get(v.ZoneID, v.PolicySetID)
	return policySetVersionView{
		ID: v.ID, OwnerType: v.OwnerType, PolicySetID: v.PolicySetID, Version: v.Version, SchemaVersion: v.SchemaVersion,
		Manifest: manifestView{Entries: append([]store.ManifestEntry{}, v.Manifest...)}, ManifestSHA: v.ManifestSHA,
		Active: set.ActiveVersionID == v.ID, CreatedAt: v.CreatedAt, CreatedBy: v.CreatedBy,
		ArchivedAt: v.ArchivedAt, ArchivedBy: v.ArchivedBy,
	}
}

func (s *server) listPolicySetVersions(r *http.Request) (any, error) {
	descending, err := parseOrder(r.URL.Query(), "created_at")
	if err != nil {
		return nil, err
	}
	return policySetVersions().list(s, r, descending, func(tx *store.Tx) ([]store.PolicySetVersion, error) {
		set, err := policySets().find(tx, r)
		return tx.PolicySetVersionsOf(set.ZoneID, set.ID), err
	})
}

func (s *server) createPolicySetVersion(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	v := store.PolicySetVersion{
		Meta:        store.Meta{ZoneID: r.PathValue("zone")},
		PolicySetID: r.PathValue("id"), OwnerType: store.OwnerCustomer, CreatedBy: caller(r).ClientID,
	}
	o.text("schema_version", true, &v.SchemaVersion, isOneOf(policy.SchemaVersions...))
	manifest := o.object("manifest")
	entries := get[[]store.ManifestEntry](manifest.value, "entries", "an array of objects with texts in policy_id, policy_version_id and sha")
	if _, there := manifest.value.fields["entries"]; len(entries.value) == 0 && (entries.set || !there) {
		o.problem("manifest.entries", "is required, with at least one entry: a set without policies denies everything")
	}
	var out policySetVersionView
	err = s.Store.Do(func(tx *store.Tx) error {
		set, err := tx.PolicySets.Get(v.ZoneID, v.PolicySetID)
		if err != nil {
			return err
		}
		if err := changeable("policy set", set.OwnerType, set.ArchivedAt); err != nil {
			return err
		}
		v.Manifest = checkManifest(tx, o, v, entries.value)
		if err := o.err(); err != nil {
			return err
		}
		v.ManifestSHA = policy.ManifestSHA(v.Manifest)
		v.Version = len(tx.PolicySetVersionsOf(v.ZoneID, v.PolicySetID)) + 1
		if v, err = tx.PolicySetVersions.Insert(v); err != nil {
			return err
		}
		out = policySetVersionViewOf(tx, v)
		return nil
	})
	return out, err
}

func (s *server) getPolicySetVersion(r *http.Request) (any, error) {
	return policySetVersions().get(s, r)
}

// activatePolicySetVersion puts a version in force, from the next token on. The
// platform's own set can be put in force again too.
func (s *server) activatePolicySetVersion(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	active := get[bool](o, "active", "a boolean")
	if !active.value {
		o.problem("active", "must be true: activate another version to put this one out of force")
	}
	if err := o.err(); err != nil {
		return nil, err
	}
	var out policySetVersionView
	err = s.Store.Do(func(tx *store.Tx) error {
		v, err := policySetVersions().find(tx, r)
		if err != nil {
			return err
		}
		set, err := tx.PolicySets.Get(v.ZoneID, v.PolicySetID)
		if err != nil {
			return err
		}
		if v.ArchivedAt != nil || set.ArchivedAt != nil {
			return failure(http.StatusConflict, "archived", "the policy set or its version is archived and cannot be activated")
		}
		if err := activable(tx, v); err != nil {
			return err
		}
		if err := tx.Activate(v); err != nil {
			return err
		}
		out = policySetVersionViewOf(tx, v)
		return nil
	})
	return out, err
}

func (s *server) archivePolicySetVersion(r *http.Request) (any, error) {
	return policySetVersions().change(s, r, func(tx *store.Tx, v *store.PolicySetVersion) error {
		set, err := tx.PolicySets.Get(v.ZoneID, v.PolicySetID)
		if err != nil {
			return err
		}
		if set.ActiveVersionID == v.ID || set.ShadowVersionID == v.ID {
			return failure(http.StatusConflict, "in_use", "the policy set version is in force in the zone: activate another version first")
		}
		v.ArchivedAt, v.ArchivedBy = s.now(), caller(r).ClientID
		return nil
	})
}

func (s *server) listPoliciesOfSet(r *http.Request) (any, error) {
	return listOf(s, r, false, func(tx *store.Tx) ([]item, error) {
		set, err := policySetVersions().find(tx, r)
		if err != nil {
			return nil, err
		}
		var items []item
		for i, e := range set.Manifest {
			p, err := tx.Policies.Get(set.ZoneID, e.PolicyID)
			if err != nil {
				return nil, err
			}
			items = append(items, item{seq: uint64(i) + 1, view: policyViewOf(tx, p)})
		}
		return items, nil
	})
}
