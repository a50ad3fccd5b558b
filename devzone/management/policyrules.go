// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// entityTag changes with what is shown of an object: its time of change is too
// coarse, and does not move when the object gets a version.
func entityTag(view any) string {
	text, err := json.Marshal(view)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", view, err))
	}
	return strconv.Quote(policy.SHA(string(text)))
}

// matches checks If-Match (RFC 9110, section 13.1.1).
func matches(r *http.Request, tag string) error {
	header := r.Header.Get("If-Match")
	if header == "" || header == "*" {
		return nil
	}
	for one := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(one) == tag {
			return nil
		}
	}
	return failure(http.StatusPreconditionFailed, "precondition_failed",
		"If-Match: the object has changed since it was read; read it again")
}

// changeable refuses changes of what the platform owns and of what is archived.
func changeable(kind, owner string, archived *time.Time) error {
	if owner == store.OwnerPlatform {
		return forbidden("the %s belongs to the platform and cannot be changed: make one of your own", kind)
	}
	if archived != nil {
		return failure(http.StatusConflict, "archived", "the %s is archived and cannot be changed: make another", kind)
	}
	return nil
}

// now is the time of a change, as rows have it.
func (s *server) now() *time.Time {
	now := s.Clock().UTC().Truncate(time.Millisecond)
	return &now
}

// inForce are the set versions that the zone decides by, the shadow included.
func inForce(tx *store.Tx, zoneID string) []store.PolicySetVersion {
	var out []store.PolicySetVersion
	for _, set := range tx.PolicySets.All(zoneID, nil) {
		for _, id := range []string{set.ActiveVersionID, set.ShadowVersionID} {
			if version, err := tx.PolicySetVersions.Get(zoneID, id); err == nil {
				out = append(out, version)
			}
		}
	}
	return out
}

// unused refuses to archive what the zone's active or shadow set holds.
func unused(tx *store.Tx, zoneID, kind string, uses func(store.ManifestEntry) bool) error {
	for _, version := range inForce(tx, zoneID) {
		if slices.ContainsFunc(version.Manifest, uses) {
			return failure(http.StatusConflict, "in_use",
				"the %s is part of %s, which is in force: activate another version first", kind, titleOf(tx, version))
		}
	}
	return nil
}

// namedOnce refuses a policy's new name that another policy in force has: a
// denial could mean either.
func namedOnce(tx *store.Tx, p store.Policy) error {
	for _, version := range inForce(tx, p.ZoneID) {
		var ids, names []string
		for _, e := range version.Manifest {
			ids = append(ids, e.PolicyID)
			if other, err := tx.Policies.Get(p.ZoneID, e.PolicyID); err == nil && other.ID != p.ID {
				names = append(names, other.Name)
			}
		}
		if slices.Contains(ids, p.ID) && slices.Contains(names, p.Name) {
			return failure(http.StatusConflict, "conflict",
				"name: %s, which is in force, has another policy named %q: choose another name", titleOf(tx, version), p.Name)
		}
	}
	return nil
}

// activable refuses to put a version in force that could not be made today: its
// policies may have been archived or renamed since.
func activable(tx *store.Tx, version store.PolicySetVersion) error {
	names := map[string]bool{}
	for _, e := range version.Manifest {
		p, err := tx.Policies.Get(version.ZoneID, e.PolicyID)
		if err != nil {
			return err
		}
		v, err := tx.PolicyVersions.Get(version.ZoneID, e.PolicyVersionID)
		if err != nil {
			return err
		}
		if p.ArchivedAt != nil || v.ArchivedAt != nil {
			return failure(http.StatusConflict, "archived",
				"%s holds the policy %q, which is archived: make a version without it", titleOf(tx, version), p.Name)
		}
		if names[p.Name] {
			return failure(http.StatusConflict, "conflict", "%s holds two policies named %q: rename one", titleOf(tx, version), p.Name)
		}
		names[p.Name] = true
	}
	return nil
}

// titleOf names a set version in an error.
func titleOf(tx *store.Tx, version store.PolicySetVersion) string {
	set, _ := tx.PolicySets.Get(version.ZoneID, version.PolicySetID)
	return fmt.Sprintf("version %d of the policy set %q", version.Version, set.Name)
}

// checkManifest reports every entry that names no version to be used, and fills
// in the digests.
func checkManifest(tx *store.Tx, o object, set store.PolicySetVersion, entries []store.ManifestEntry) []store.ManifestEntry {
	ids, names := map[string]bool{}, map[string]bool{}
	out := make([]store.ManifestEntry, 0, len(entries))
	for i, e := range entries {
		p, sha, problem := checkEntry(tx, set, e)
		switch {
		case problem != "":
		case ids[p.ID]:
			problem = "policy_id: the policy is there twice"
		case names[p.Name]:
			problem = fmt.Sprintf("policy_id: another entry's policy is named %q too: rename one", p.Name)
		}
		if problem != "" {
			o.problem(fmt.Sprintf("manifest.entries[%d]", i), problem)
		}
		ids[p.ID], names[p.Name] = true, true
		out = append(out, store.ManifestEntry{PolicyID: e.PolicyID, PolicyVersionID: e.PolicyVersionID, SHA: sha})
	}
	return out
}

// checkEntry returns what an entry names, or what is wrong with it. The
// platform's policies fit every schema version: a set needs them whatever its
// own is.
func checkEntry(tx *store.Tx, set store.PolicySetVersion, e store.ManifestEntry) (p store.Policy, sha, problem string) {
	p, err := tx.Policies.Get(set.ZoneID, e.PolicyID)
	if err != nil {
		return p, "", "policy_id: no policy of the zone has this id"
	}
	v, err := tx.PolicyVersions.Get(set.ZoneID, e.PolicyVersionID)
	switch {
	case err != nil || v.PolicyID != p.ID:
		problem = "policy_version_id: the policy has no version with this id"
	case p.ArchivedAt != nil || v.ArchivedAt != nil:
		problem = "the policy or its version is archived"
	case v.SchemaVersion != set.SchemaVersion && p.OwnerType != store.OwnerPlatform:
		problem = "the policy version has the schema version " + v.SchemaVersion + ", the set " + set.SchemaVersion
	case e.SHA != "" && e.SHA != v.SHA:
		problem = "sha: is not the policy version's, which is " + v.SHA
	}
	return p, v.SHA, problem
}
