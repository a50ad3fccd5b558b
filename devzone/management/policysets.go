// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// policySetView is a policy set with what is in force of it.
type policySetView struct {
	base
	OwnerType       string     `json:"owner_type"`
	Name            string     `json:"name"`
	ScopeType       string     `json:"scope_type"`
	ScopeTargetID   string     `json:"scope_target_id,omitempty"`
	CreatedBy       string     `json:"created_by"`
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

// policySets and their versions: one version of one set of each scope is in force in a zone, and
// PATCH {"active":true} puts it there.
var policySets = kind[store.PolicySet]{
	shape: ordered,
	table: func(tx *store.Tx) *store.Table[store.PolicySet] { return tx.PolicySets },
	view:  func(c *call, set store.PolicySet) any { return c.policySetView(set) },
	guard: func(_ *call, set store.PolicySet) error {
		return changeable("policy set", set.OwnerType, set.ArchivedAt)
	},
	empty: func(c *call) store.PolicySet {
		return store.PolicySet{
			Meta: store.Meta{ZoneID: c.zone.ID}, OwnerType: store.OwnerCustomer, ScopeType: store.ScopeZone, CreatedBy: c.caller.ClientID,
		}
	},
	fields: func(_ *call, set *store.PolicySet, creating bool) fields {
		out := fields{text("name", creating, &set.Name, isName)}
		if creating {
			out = append(out, text("scope_type", false, &set.ScopeType, isOneOf(scopeTypes...)))
		}
		return out
	},
	filters: filters[store.PolicySet]{
		"filter[active]":     whether(func(set store.PolicySet) bool { return set.ActiveVersionID != "" }),
		"filter[owner_type]": owners(func(set store.PolicySet) string { return set.OwnerType }),
		"filter[scope_type]": is(func(set store.PolicySet) string { return set.ScopeType }, scopeTypes...),
	},
	orders: func(*call) map[string]func(a, b store.PolicySet) int {
		return map[string]func(a, b store.PolicySet) int{
			"status": func(a, b store.PolicySet) int { return cmp.Compare(rank(a), rank(b)) },
		}
	},
	adjust: func(c *call, set *store.PolicySet) error {
		set.UpdatedBy = c.caller.ClientID
		return nil
	},
	archive: func(c *call, set *store.PolicySet) error {
		if set.ActiveVersionID != "" || set.ShadowVersionID != "" {
			return failure(http.StatusConflict, "in_use", "the policy set is in force in the zone: activate a version of another set first")
		}
		set.ArchivedAt, set.UpdatedBy = c.now(), c.caller.ClientID
		return nil
	},
}

var scopeTypes = []string{store.ScopeZone, "resource", "user", "session"}

// rank orders sets by status: what is active, the shadow, the others, the archived.
func rank(set store.PolicySet) int {
	switch {
	case set.ActiveVersionID != "":
		return 0
	case set.ShadowVersionID != "":
		return 1
	case set.ArchivedAt != nil:
		return 3
	}
	return 2
}

var policySetVersions = kind[store.PolicySetVersion]{
	shape: ordered,
	param: "version",
	table: func(tx *store.Tx) *store.Table[store.PolicySetVersion] { return tx.PolicySetVersions },
	view:  func(c *call, v store.PolicySetVersion) any { return c.policySetVersionView(v) },
	within: func(c *call) (func(store.PolicySetVersion) bool, error) {
		set, err := c.policySet()
		return func(v store.PolicySetVersion) bool { return v.PolicySetID == set.ID }, err
	},
	orders: func(*call) map[string]func(a, b store.PolicySetVersion) int { return nil },
	empty: func(c *call) store.PolicySetVersion {
		return store.PolicySetVersion{
			Meta: store.Meta{ZoneID: c.zone.ID}, PolicySetID: c.r.PathValue("id"), OwnerType: store.OwnerCustomer, CreatedBy: c.caller.ClientID,
		}
	},
	fields: func(_ *call, v *store.PolicySetVersion, _ bool) fields {
		return fields{
			text("schema_version", true, &v.SchemaVersion, isOneOf(policy.SchemaVersions...)),
			manifestField(&v.Manifest),
		}
	},
	insert: insertPolicySetVersion,
	archive: func(c *call, v *store.PolicySetVersion) error {
		if err := changeable("policy set version", v.OwnerType, v.ArchivedAt); err != nil {
			return err
		}
		set, err := c.policySet()
		if err != nil {
			return err
		}
		if set.ActiveVersionID == v.ID || set.ShadowVersionID == v.ID {
			return failure(http.StatusConflict, "in_use", "the policy set version is in force in the zone: activate another version first")
		}
		v.ArchivedAt, v.ArchivedBy = c.now(), c.caller.ClientID
		return nil
	},
}

// policySet is the one that the path names.
func (c *call) policySet() (store.PolicySet, error) {
	return c.tx.PolicySets.Get(c.zone.ID, c.r.PathValue("id"))
}

func (c *call) policySetView(set store.PolicySet) policySetView {
	v := policySetView{
		base: plain(set.Meta), OwnerType: set.OwnerType, Name: set.Name, ScopeType: set.ScopeType,
		CreatedBy: set.CreatedBy, UpdatedBy: set.UpdatedBy, ArchivedAt: set.ArchivedAt,
	}
	for _, version := range c.tx.PolicySetVersionsOf(set.ZoneID, set.ID) {
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

func (c *call) policySetVersionView(v store.PolicySetVersion) policySetVersionView {
	set, _ := c.tx.PolicySets.Get(v.ZoneID, v.PolicySetID)
	return policySetVersionView{
		ID: v.ID, OwnerType: v.OwnerType, PolicySetID: v.PolicySetID, Version: v.Version, SchemaVersion: v.SchemaVersion,
		Manifest: manifestView{Entries: append([]store.ManifestEntry{}, v.Manifest...)}, ManifestSHA: v.ManifestSHA,
		Active: set.ActiveVersionID == v.ID, CreatedAt: v.CreatedAt, CreatedBy: v.CreatedBy,
		ArchivedAt: v.ArchivedAt, ArchivedBy: v.ArchivedBy,
	}
}

// manifestField is the list of what a set version holds.
func manifestField(dst *[]store.ManifestEntry) field {
	var entries value[[]store.ManifestEntry]
	in := fields{{name: "entries", read: func(o object) {
		entries = getAs[[]store.ManifestEntry](o, "entries", "an array of objects with texts in policy_id, policy_version_id and sha")
	}}}
	return field{name: "manifest", in: in, read: func(o object) {
		m := o.object("manifest").value
		in.read(m)
		if _, there := m.values["entries"]; len(entries.value) == 0 && (entries.set || !there) {
			m.problem("entries", "is required, with at least one entry: a set without policies denies everything")
		}
		*dst = entries.value
	}}
}

func insertPolicySetVersion(c *call, v store.PolicySetVersion) (store.PolicySetVersion, error) {
	set, err := c.policySet()
	if err != nil {
		return v, err
	}
	if err := changeable("policy set", set.OwnerType, set.ArchivedAt); err != nil {
		return v, err
	}
	v.Manifest = checkManifest(c.tx, c.body, v, v.Manifest)
	if err := c.body.err(); err != nil {
		return v, err
	}
	v.ManifestSHA = policy.ManifestSHA(v.Manifest)
	v.Version = len(c.tx.PolicySetVersionsOf(v.ZoneID, v.PolicySetID)) + 1
	return c.tx.PolicySetVersions.Insert(v)
}

// policySetRoutes registers what is special about versions of sets.
func (s *server) policySetRoutes(version string) {
	s.add(taking("PATCH "+version, func(_ *call, active *bool) fields { return fields{flag("active", active)} }, activate))
	s.add(operation{pattern: "GET " + version + "/policies", params: append(ordered.params(), "sort", "format"), answer: listPoliciesOfSet})
}

// activate puts a version in force, from the next token on. The platform's own set can be put in
// force again too.
func activate(c *call, active bool) (any, error) {
	if !active {
		return nil, badRequest("active: must be true: activate another version to put this one out of force")
	}
	v, err := policySetVersions.named(c)
	if err != nil {
		return nil, err
	}
	set, err := c.policySet()
	if err != nil {
		return nil, err
	}
	if v.ArchivedAt != nil || set.ArchivedAt != nil {
		return nil, failure(http.StatusConflict, "archived", "the policy set or its version is archived and cannot be activated")
	}
	if err := activable(c.tx, v); err != nil {
		return nil, err
	}
	if err := c.tx.Activate(v); err != nil {
		return nil, err
	}
	return c.policySetVersionView(v), nil
}

// listPoliciesOfSet lists the versions of policies that a version of a set holds.
func listPoliciesOfSet(c *call) (any, error) {
	set, err := policySetVersions.named(c)
	if err != nil {
		return nil, err
	}
	var rows []store.PolicyVersion
	for _, e := range set.Manifest {
		v, err := c.tx.PolicyVersions.Get(set.ZoneID, e.PolicyVersionID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, v)
	}
	return policyVersions.listed(c, rows)
}
