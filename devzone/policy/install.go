// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// DefaultSet is the platform's set, which is active in a fresh zone.
const DefaultSet = "default-zone-policies"

// Named is a policy to be put into a set.
type Named struct{ Name, Cedar string }

// defaults are the platform's policies: a user may use what she consented to; an
// application may act for a user who takes part, and for itself. Nobody may act
// for a user who is absent.
var defaults = []Named{
	{"default-user-grants", "permit (principal is Keycard::User, action, resource);\n"},
	{
		"default-app-delegation",
		"permit (principal is Keycard::Application, action, resource)\nwhen { context.on_behalf && !context.impersonate };\n",
	},
	{
		"default-app-direct-access",
		"permit (principal is Keycard::Application, action, resource)\nwhen { !context.on_behalf };\n",
	},
}

// IsDefault tells whether a policy of the platform's has the name. Names are
// unique in a set, and the platform's policies are meant to be in every set.
func IsDefault(name string) bool {
	return slices.ContainsFunc(defaults, func(n Named) bool { return n.Name == name })
}

// Install puts the platform's policies into a new zone, in the set
// default-zone-policies, which is active. It returns the set's manifest.
func Install(tx *store.Tx, zoneID string) ([]store.ManifestEntry, error) {
	manifest, err := AddPolicies(tx, zoneID, store.OwnerPlatform, defaults)
	if err != nil {
		return nil, err
	}
	return manifest, AddSet(tx, zoneID, store.OwnerPlatform, DefaultSet, manifest)
}

// AddPolicies adds policies with one version each. An error names the policy.
func AddPolicies(tx *store.Tx, zoneID, owner string, policies []Named) ([]store.ManifestEntry, error) {
	var manifest []store.ManifestEntry
	for _, named := range policies {
		if err := Check(named.Cedar); err != nil {
			return nil, fmt.Errorf("policy %q %w", named.Name, err)
		}
		p, err := tx.Policies.Insert(store.Policy{
			Meta: store.Meta{ZoneID: zoneID}, OwnerType: owner, Name: named.Name, CreatedBy: owner,
		})
		if err != nil {
			return nil, err
		}
		v, err := tx.PolicyVersions.Insert(store.PolicyVersion{
			Meta: store.Meta{ZoneID: zoneID}, OwnerType: owner, PolicyID: p.ID, Version: 1,
			SchemaVersion: DefaultSchemaVersion, Cedar: named.Cedar, SHA: SHA(named.Cedar), CreatedBy: owner,
		})
		if err != nil {
			return nil, err
		}
		manifest = append(manifest, store.ManifestEntry{PolicyID: p.ID, PolicyVersionID: v.ID, SHA: v.SHA})
	}
	return manifest, nil
}

// AddSet adds a set with one version and makes it the zone's active one.
func AddSet(tx *store.Tx, zoneID, owner, name string, manifest []store.ManifestEntry) error {
	set, err := tx.PolicySets.Insert(store.PolicySet{
		Meta: store.Meta{ZoneID: zoneID}, OwnerType: owner, Name: name, ScopeType: store.ScopeZone, CreatedBy: owner,
	})
	if err != nil {
		return err
	}
	version, err := tx.PolicySetVersions.Insert(store.PolicySetVersion{
		Meta: store.Meta{ZoneID: zoneID}, OwnerType: owner, PolicySetID: set.ID, Version: 1,
		SchemaVersion: DefaultSchemaVersion, Manifest: manifest, ManifestSHA: ManifestSHA(manifest), CreatedBy: owner,
	})
	if err != nil {
		return err
	}
	return tx.Activate(version)
}

// ManifestSHA is the digest that names a manifest.
func ManifestSHA(manifest []store.ManifestEntry) string {
	text, err := json.Marshal(manifest)
	if err != nil {
		panic("encoding a list of strings")
	}
	return SHA(string(text))
}
