// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

const stepPolicies = v1alpha1.ConditionPoliciesApplied

// policySetName is the policy set that the operator puts in force. It holds what was in force
// before, and the policies of KeycardResources. Sets of others are never changed.
const policySetName = "keycard-operator"

// zoneSettles is how long a zone without a policy set in force is taken for one that is still being
// made: the platform binds its own some seconds after the zone is there.
const zoneSettles = 5 * time.Minute

// EnsurePolicies keeps the policies of the spec in force, along with those of others.
func EnsurePolicies(ctx context.Context, in *Install) error {
	return in.applyPolicies(ctx, in.Object.Spec.Policies)
}

// RemovePolicies takes the policies of the install out of force.
func RemovePolicies(ctx context.Context, in *Install) error { return in.applyPolicies(ctx, nil) }

func (in *Install) applyPolicies(ctx context.Context, policies []v1alpha1.AccessPolicy) error {
	if len(in.Object.Spec.Policies)+len(in.Object.Status.Policies) == 0 {
		return nil
	}
	unlock, err := in.Zone.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := in.policiesInForce(ctx)
	if err != nil {
		return err
	}
	if in.Zone.Observing {
		return in.observePolicies(ctx, now)
	}
	ours, err := in.ownPolicies(ctx)
	if err != nil {
		return err
	}
	// All texts are registered before any is put in force: one that is refused changes nothing.
	wanted := make([]v1alpha1.AccessPolicyStatus, 0, len(policies))
	for i := range policies {
		p, err := in.ensurePolicy(ctx, i, ours, now.SchemaVersion)
		if err != nil {
			return err
		}
		wanted = append(wanted, p)
	}
	if err := in.putInForce(ctx, now, ours, wanted); err != nil {
		return err
	}
	if err := in.archiveStale(ctx, ours, wanted); err != nil {
		return err // status still names them, so that the next look comes back to them
	}
	in.Object.Status.Policies = wanted
	return nil
}

// policiesInForce is what the zone decides by.
func (in *Install) policiesInForce(ctx context.Context) (now keycard.PolicySetVersion, err error) {
	sets, err := in.Zone.ListPolicySets(ctx, in.Zone.ID, keycard.PolicySet.InForce)
	if err != nil {
		return now, err
	}
	if len(sets) == 0 && in.Now.Sub(in.Zone.CreatedAt) < zoneSettles {
		return now, problem.PolicySetPending()
	}
	if len(sets) == 0 {
		return now, problem.NoPolicySet()
	}
	now, err = in.Zone.GetPolicySetVersion(ctx, in.Zone.ID, sets[0].ID, sets[0].ActiveVersionID)
	return now, err
}

// ownPolicies are the policies in the zone that were made for this resource.
func (in *Install) ownPolicies(ctx context.Context) ([]keycard.Policy, error) {
	ours, err := in.Zone.ListPolicies(ctx, in.Zone.ID, func(p keycard.Policy) bool {
		return p.ArchivedAt == "" && in.Marker().In(p.Description)
	})
	return ours, err
}

// ensurePolicy makes sure that the zone has a policy of the spec, and gives the version with its
// text.
func (in *Install) ensurePolicy(ctx context.Context, i int, ours []keycard.Policy, schema string) (v1alpha1.AccessPolicyStatus, error) {
	want := in.Object.Spec.Policies[i]
	have, err := in.findOrCreatePolicy(ctx, want.Name, ours)
	if err != nil {
		return v1alpha1.AccessPolicyStatus{}, err
	}
	status := v1alpha1.AccessPolicyStatus{Name: want.Name, ID: have.ID, Hash: policyHash(schema, want.Cedar)}
	// The zone need not give a text back as it was written, so what was sent is remembered.
	if known := policyOf(in.Object.Status, want.Name); known.ID == status.ID && known.Hash == status.Hash {
		return known, nil
	}
	if have.LatestVersionID != "" {
		latest, err := in.Zone.GetPolicyVersion(ctx, in.Zone.ID, have.ID, have.LatestVersionID)
		if err != nil {
			return status, err
		}
		if latest.SchemaVersion == schema && latest.CedarRaw == want.Cedar {
			status.VersionID = latest.ID
			return status, nil
		}
	}
	log.FromContext(ctx).Info("registering the policy's text", "policy", want.Name)
	made, err := in.Zone.CreatePolicyVersion(ctx, in.Zone.ID, have.ID, schema, want.Cedar)
	if err != nil {
		return status, policyProblem(i, want.Name, err)
	}
	status.VersionID = made.ID
	return status, nil
}

// findOrCreatePolicy finds a policy of the spec among ours, or makes one without a text.
func (in *Install) findOrCreatePolicy(ctx context.Context, name string, ours []keycard.Policy) (keycard.Policy, error) {
	identifier := fmt.Sprintf("%s: %s", in.Key(), name) // the names in a set are unique
	policy, _, err := remote.Ensure(ctx, in.Zone, remote.Policies(ours), remote.Policy{
		Step: stepPolicies, Object: "policy " + name, Identifier: identifier, Marker: in.Marker(), Known: policyOf(in.Found, name).ID,
		Body: keycard.PolicyCreate{Name: identifier, Description: in.Description()},
	})
	return policy, err
}

// policyOf is what a status knows of a policy; empty when that is nothing.
func policyOf(status v1alpha1.KeycardResourceStatus, name string) (known v1alpha1.AccessPolicyStatus) {
	for _, p := range status.Policies {
		if p.Name == name {
			known = p
		}
	}
	return known
}

// policyProblem says at which field the zone refused a text.
func policyProblem(i int, name string, err error) error {
	e, ok := keycard.AsError(err)
	if keycard.IsConflict(err) {
		return remote.CreateProblem(err, "policy version")
	}
	if !ok || e.Status != http.StatusBadRequest && e.Status != http.StatusUnprocessableEntity {
		return err
	}
	return problem.PolicyInvalid(i, name, e.Description)
}

func policyHash(schema, cedar string) string {
	sum := sha256.Sum256([]byte(schema + "\n" + cedar))
	return hex.EncodeToString(sum[:16])
}

// putInForce activates what is in force now, with this resource's policies as they are wanted.
func (in *Install) putInForce(ctx context.Context, now keycard.PolicySetVersion, ours []keycard.Policy, wanted []v1alpha1.AccessPolicyStatus) error {
	entries := mergePolicies(now.Manifest.Entries, ours, wanted)
	if sameEntries(entries, now.Manifest.Entries) {
		return nil
	}
	return in.Zone.Change(stepPolicies, "policy set in force", []string{"policies"}, func() error {
		set, version, err := in.versionOf(ctx, now, entries)
		if err != nil {
			return err
		}
		log.FromContext(ctx).Info("activating policies", "set", set, "version", version)
		return in.Zone.ActivatePolicySetVersion(ctx, in.Zone.ID, set, version)
	})
}

// versionOf finds a set that has these policies, or makes one: nothing is left behind by an answer
// that was lost, and a zone whose policies are all its own again is back to its own set. A set
// without policies can't be in force; the platform's takes its place. Sets that are not for the
// whole zone are left to what they are for.
func (in *Install) versionOf(ctx context.Context, now keycard.PolicySetVersion, entries []keycard.ManifestEntry) (setID, versionID string, err error) {
	sets, err := in.Zone.ListPolicySets(ctx, in.Zone.ID, func(p keycard.PolicySet) bool { return p.ArchivedAt == "" && p.ZoneWide() })
	if err != nil {
		return "", "", err
	}
	for _, set := range sets {
		version, same, err := in.sameContents(ctx, now, set, entries)
		if err != nil || same {
			return set.ID, version, err
		}
	}
	own := ""
	for _, set := range sets {
		if set.Name == policySetName && set.OwnerType == keycard.OwnerCustomer {
			own = set.ID
		}
	}
	if own == "" {
		made, err := in.Zone.CreatePolicySet(ctx, in.Zone.ID, policySetName)
		if err != nil {
			return "", "", remote.CreateProblem(err, "policy set")
		}
		own = made.ID
	}
	made, err := in.Zone.CreatePolicySetVersion(ctx, in.Zone.ID, own, now.SchemaVersion, keycard.Manifest{Entries: entries})
	return own, made.ID, remote.CreateProblem(err, "policy set version")
}

// sameContents reports whether a set's latest version has these policies, and gives its id.
func (in *Install) sameContents(ctx context.Context, now keycard.PolicySetVersion, set keycard.PolicySet, entries []keycard.ManifestEntry) (versionID string, same bool, err error) {
	switch {
	case set.LatestVersionID == "":
		return "", false, nil
	case len(entries) == 0:
		return set.LatestVersionID, set.OwnerType == keycard.OwnerPlatform, nil
	}
	latest, err := in.Zone.GetPolicySetVersion(ctx, in.Zone.ID, set.ID, set.LatestVersionID)
	if err != nil {
		return "", false, err
	}
	return latest.ID, latest.SchemaVersion == now.SchemaVersion && sameEntries(latest.Manifest.Entries, entries), nil
}

// mergePolicies replaces this resource's policies in a manifest. The rest stays, in its order.
func mergePolicies(have []keycard.ManifestEntry, ours []keycard.Policy, wanted []v1alpha1.AccessPolicyStatus) []keycard.ManifestEntry {
	own := map[string]bool{}
	for _, p := range ours {
		own[p.ID] = true
	}
	for _, p := range wanted {
		own[p.ID] = true
	}
	merged := slices.DeleteFunc(slices.Clone(have), func(e keycard.ManifestEntry) bool { return own[e.PolicyID] })
	for _, p := range wanted {
		merged = append(merged, keycard.ManifestEntry{PolicyID: p.ID, PolicyVersionID: p.VersionID})
	}
	return merged
}

// sameEntries compares manifests without regard to order, which decides nothing.
func sameEntries(a, b []keycard.ManifestEntry) bool {
	ids := func(list []keycard.ManifestEntry) []string {
		out := make([]string, len(list))
		for i, e := range list {
			out[i] = e.PolicyID + " " + e.PolicyVersionID
		}
		return out
	}
	return remote.SameSet(ids(a), ids(b))
}

// archiveStale takes policies out of use that the spec has no more.
func (in *Install) archiveStale(ctx context.Context, ours []keycard.Policy, wanted []v1alpha1.AccessPolicyStatus) error {
	for _, p := range ours {
		if slices.ContainsFunc(wanted, func(w v1alpha1.AccessPolicyStatus) bool { return w.ID == p.ID }) {
			continue
		}
		if err := remote.Delete(ctx, in.Zone, remote.Policies(ours), p, in.Marker()); err != nil {
			return err
		}
	}
	return nil
}

// observePolicies compares the texts in force with the spec, no matter who registered them.
func (in *Install) observePolicies(ctx context.Context, now keycard.PolicySetVersion) error {
	texts := map[string]bool{}
	for _, e := range now.Manifest.Entries {
		v, err := in.Zone.GetPolicyVersion(ctx, in.Zone.ID, e.PolicyID, e.PolicyVersionID)
		if err != nil {
			return err
		}
		texts[strings.TrimSpace(v.CedarRaw)] = true
	}
	for _, p := range in.Object.Spec.Policies {
		if !texts[strings.TrimSpace(p.Cedar)] {
			in.Zone.Note(stepPolicies, "policy "+p.Name, "not in force")
		}
	}
	return nil
}
