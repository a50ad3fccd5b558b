// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// Policy is a named access policy; what it says is in its versions.
type Policy struct {
	Meta
	OwnerType   string
	Name        string
	Description *string
	CreatedBy   string
	UpdatedBy   string
	ArchivedAt  *time.Time
}

// PolicyVersion is one text of a policy. It never changes.
type PolicyVersion struct {
	Meta
	OwnerType string
	PolicyID  string
	// Version counts from 1 within the policy.
	Version       int
	SchemaVersion string
	// Cedar is the text in the Cedar language.
	Cedar      string
	SHA        string
	CreatedBy  string
	ArchivedAt *time.Time
	ArchivedBy string
}

// ScopeZone is the scope of the sets that decide in the zone. Those of other
// scopes are kept and shown, and decide nothing here.
const ScopeZone = "zone"

// PolicySet is a named set of policies; which ones is in its versions.
type PolicySet struct {
	Meta
	OwnerType string
	Name      string
	ScopeType string
	CreatedBy string
	UpdatedBy string
	// ActiveVersionID is the version that is in force; empty when the set is not
	// the active one of its scope. At most one set of a scope has it.
	ActiveVersionID string
	// ShadowVersionID is the version that is evaluated for the log only.
	ShadowVersionID string
	ArchivedAt      *time.Time
}

// PolicySetVersion is one list of policies of a set. It never changes.
type PolicySetVersion struct {
	Meta
	OwnerType     string
	PolicySetID   string
	Version       int
	SchemaVersion string
	Manifest      []ManifestEntry
	ManifestSHA   string
	CreatedBy     string
	ArchivedAt    *time.Time
	ArchivedBy    string
}

// ManifestEntry names a policy of a set version.
type ManifestEntry struct {
	PolicyID        string `json:"policy_id"`
	PolicyVersionID string `json:"policy_version_id"`
	SHA             string `json:"sha"`
}

func (p *Policy) key() string           { return "" }
func (p *PolicyVersion) key() string    { return "" }
func (p *PolicySet) key() string        { return "" }
func (p *PolicySetVersion) key() string { return "" }

func (p *Policy) label() string           { return p.Name }
func (p *PolicyVersion) label() string    { return "" }
func (p *PolicySet) label() string        { return p.Name }
func (p *PolicySetVersion) label() string { return "" }

// Activate makes a set version the one that is in force in its set's scope. The
// sets of that scope that were active before are not any more, and a shadow that
// decides is none.
func (tx *Tx) Activate(version PolicySetVersion) error {
	own, err := tx.PolicySets.Get(version.ZoneID, version.PolicySetID)
	if err != nil {
		return err
	}
	for _, set := range tx.PolicySets.All(version.ZoneID, func(s PolicySet) bool { return s.ScopeType == own.ScopeType }) {
		active, shadow := "", set.ShadowVersionID
		if set.ID == version.PolicySetID {
			active = version.ID
		}
		if shadow == version.ID {
			shadow = ""
		}
		if set.ActiveVersionID == active && set.ShadowVersionID == shadow {
			continue
		}
		set.ActiveVersionID, set.ShadowVersionID = active, shadow
		if _, err := tx.PolicySets.Replace(set); err != nil {
			return err
		}
	}
	return nil
}

// PolicyVersionsOf returns the versions of a policy from the first to the last.
func (tx *Tx) PolicyVersionsOf(zoneID, policyID string) []PolicyVersion {
	return tx.PolicyVersions.All(zoneID, func(v PolicyVersion) bool { return v.PolicyID == policyID })
}

// PolicySetVersionsOf returns the versions of a set from the first to the last.
func (tx *Tx) PolicySetVersionsOf(zoneID, setID string) []PolicySetVersion {
	return tx.PolicySetVersions.All(zoneID, func(v PolicySetVersion) bool { return v.PolicySetID == setID })
}
