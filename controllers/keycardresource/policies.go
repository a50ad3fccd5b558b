// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

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
)

// policySetName is the policy set that the operator puts in force. It holds what was in force before, and the
// policies of KeycardResources. Sets of others are never changed.
const policySetName = "keycard-operator"

// zoneSettles is how long a zone without a policy set in force is taken for one that is still being made: the platform
// binds its own some seconds after the zone is there.
const zoneSettles = 5 * time.Minute

// inForce is what the zone decides by.
type inForce struct {
	set     keycard.PolicySet
	version keycard.PolicySetVersion
}

// ensurePolicies keeps the policies of the spec in force, along with those of others.
func (r *Reconciler) ensurePolicies(ctx context.Context, s *scope) error {
	if len(s.resource.Spec.Policies)+len(s.resource.Status.Policies) == 0 {
		return nil
	}
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := s.policiesInForce(ctx)
	if err != nil {
		return err
	}
	if s.observing() {
		return s.observePolicies(ctx, now)
	}
	ours, err := s.ownPolicies(ctx)
	if err != nil {
		return err
	}
	// All texts are registered before any is put in force: one that the zone refuses changes nothing.
	wanted := make([]v1alpha1.AccessPolicyStatus, 0, len(s.resource.Spec.Policies))
	for i := range s.resource.Spec.Policies {
		p, err := s.ensurePolicy(ctx, i, ours, now.version.SchemaVersion)
		if err != nil {
			return err
		}
		wanted = append(wanted, p)
	}
	if err := s.putInForce(ctx, now, ours, wanted); err != nil {
		return err
	}
	s.resource.Status.Policies = wanted
	return s.archiveStale(ctx, ours, wanted)
}

// removePolicies takes the policies of this resource out of force.
func (r *Reconciler) removePolicies(ctx context.Context, s *scope) error {
	if len(s.resource.Spec.Policies)+len(s.resource.Status.Policies) == 0 {
		return nil
	}
	unlock, err := r.lockZone(ctx, s)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := s.policiesInForce(ctx)
	if err != nil {
		return err
	}
	ours, err := s.ownPolicies(ctx)
	if err != nil {
		return err
	}
	if err := s.putInForce(ctx, now, ours, nil); err != nil {
		return err
	}
	return s.archiveStale(ctx, ours, nil)
}

func (s *scope) policiesInForce(ctx context.Context) (inForce, error) {
	sets, err := s.zone.ListPolicySets(ctx, s.zoneID(), keycard.PolicySet.InForce)
	if err != nil {
		return inForce{}, problem.Remote(err)
	}
	if len(sets) == 0 && s.now.Sub(s.zoneCreated) < zoneSettles {
		return inForce{}, problem.Passing(v1alpha1.ReasonProgressingWithRetry, "the zone is new and has no active policy set yet; it is looked at again")
	}
	if len(sets) == 0 {
		return inForce{}, problem.NeedsPerson(v1alpha1.ReasonRequestRejected, "the zone has no active policy set; activate one in the zone")
	}
	version, err := s.zone.GetPolicySetVersion(ctx, s.zoneID(), sets[0].ID, sets[0].ActiveVersionID)
	return inForce{set: sets[0], version: version}, problem.Remote(err)
}

// ownPolicies are the policies in the zone that were made for this resource.
func (s *scope) ownPolicies(ctx context.Context) ([]keycard.Policy, error) {
	ours, err := s.zone.ListPolicies(ctx, s.zoneID(), func(p keycard.Policy) bool {
		return p.ArchivedAt == "" && s.owns(p.Description)
	})
	return ours, problem.Remote(err)
}

// policyName is a policy's name in the zone, where the names in a set are unique.
func (s *scope) policyName(name string) string {
	return fmt.Sprintf("%s/%s: %s", s.resource.Namespace, s.resource.Name, name)
}

// ensurePolicy makes sure that the zone has a policy with the text of the spec, and gives the version to put in force.
func (s *scope) ensurePolicy(ctx context.Context, i int, ours []keycard.Policy, schema string) (v1alpha1.AccessPolicyStatus, error) {
	want := s.resource.Spec.Policies[i]
	have, err := s.findOrCreatePolicy(ctx, want, ours)
	if err != nil {
		return v1alpha1.AccessPolicyStatus{}, err
	}
	status := v1alpha1.AccessPolicyStatus{Name: want.Name, ID: have.ID, Hash: policyHash(schema, want.Cedar)}
	// The zone need not give a text back as it was written, so what was sent is remembered.
	for _, known := range s.resource.Status.Policies {
		if known.Name == status.Name && known.ID == status.ID && known.Hash == status.Hash {
			return known, nil
		}
	}
	if have.LatestVersionID != "" {
		latest, err := s.zone.GetPolicyVersion(ctx, s.zoneID(), have.ID, have.LatestVersionID)
		if err != nil {
			return status, problem.Remote(err)
		}
		if latest.SchemaVersion == schema && latest.CedarRaw == want.Cedar {
			status.VersionID = latest.ID
			return status, nil
		}
	}
	log.FromContext(ctx).Info("registering the policy's text", "policy", want.Name)
	made, err := s.zone.CreatePolicyVersion(ctx, s.zoneID(), have.ID, schema, want.Cedar)
	if err != nil {
		return status, policyProblem(i, want.Name, err)
	}
	status.VersionID = made.ID
	return status, nil
}

func (s *scope) findOrCreatePolicy(ctx context.Context, want v1alpha1.AccessPolicy, ours []keycard.Policy) (keycard.Policy, error) {
	for _, p := range ours {
		if p.Name == s.policyName(want.Name) {
			return p, nil
		}
	}
	known := ""
	for _, p := range s.found.Policies {
		if p.Name == want.Name {
			known = p.ID
		}
	}
	made, err := s.zone.CreatePolicy(ctx, s.zoneID(), keycard.PolicyCreate{Name: s.policyName(want.Name), Description: s.description()})
	if err != nil {
		return keycard.Policy{}, createProblem(err, "policy")
	}
	s.created(stepPolicies, "policy "+want.Name, known)
	return made, nil
}

// policyProblem says at which field the zone refused a text.
func policyProblem(i int, name string, err error) error {
	e, ok := keycard.AsError(err)
	if keycard.IsConflict(err) {
		return createProblem(err, "policy version")
	}
	if !ok || e.Status != http.StatusBadRequest && e.Status != http.StatusUnprocessableEntity {
		return problem.Remote(err)
	}
	return problem.NeedsPerson(v1alpha1.ReasonPolicyInvalid, "spec.policies[%d].cedar (policy %s): the zone refuses it: %s; mend the policy, what was in force stays so", i, name, e.Description)
}

func policyHash(schema, cedar string) string {
	sum := sha256.Sum256([]byte(schema + "\n" + cedar))
	return hex.EncodeToString(sum[:16])
}

// putInForce activates what is in force now, with this resource's policies as they are wanted.
func (s *scope) putInForce(ctx context.Context, now inForce, ours []keycard.Policy, wanted []v1alpha1.AccessPolicyStatus) error {
	entries := mergePolicies(now.version.Manifest.Entries, ours, wanted)
	if sameEntries(entries, now.version.Manifest.Entries) {
		return nil
	}
	return s.change(stepPolicies, "policy set in force", []string{"policies"}, func() error {
		set, version, err := s.versionOf(ctx, now, entries)
		if err != nil {
			return err
		}
		log.FromContext(ctx).Info("activating policies", "set", set, "version", version)
		return s.zone.ActivatePolicySetVersion(ctx, s.zoneID(), set, version)
	})
}

// versionOf finds a set that has these policies, or makes one: nothing is left behind by an answer that was lost, and a
// zone whose policies are all its own again is back to its own set. A set without policies can't be in force; the
// platform's takes its place. Sets that are not for the whole zone are left to what they are for.
func (s *scope) versionOf(ctx context.Context, now inForce, entries []keycard.ManifestEntry) (setID, versionID string, err error) {
	sets, err := s.zone.ListPolicySets(ctx, s.zoneID(), func(p keycard.PolicySet) bool { return p.ArchivedAt == "" && p.ZoneWide() })
	if err != nil {
		return "", "", err
	}
	for _, set := range sets {
		version, same, err := s.sameContents(ctx, now, set, entries)
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
		made, err := s.zone.CreatePolicySet(ctx, s.zoneID(), policySetName)
		if err != nil {
			return "", "", createProblem(err, "policy set")
		}
		own = made.ID
	}
	made, err := s.zone.CreatePolicySetVersion(ctx, s.zoneID(), own, now.version.SchemaVersion, keycard.Manifest{Entries: entries})
	return own, made.ID, createProblem(err, "policy set version")
}

// sameContents tells whether a set's latest version has these policies, and gives its id.
func (s *scope) sameContents(ctx context.Context, now inForce, set keycard.PolicySet, entries []keycard.ManifestEntry) (versionID string, same bool, err error) {
	switch {
	case set.LatestVersionID == "":
		return "", false, nil
	case len(entries) == 0:
		return set.LatestVersionID, set.OwnerType == keycard.OwnerPlatform, nil
	}
	latest, err := s.zone.GetPolicySetVersion(ctx, s.zoneID(), set.ID, set.LatestVersionID)
	if err != nil {
		return "", false, err
	}
	return latest.ID, latest.SchemaVersion == now.version.SchemaVersion && sameEntries(latest.Manifest.Entries, entries), nil
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
		slices.Sort(out)
		return out
	}
	return slices.Equal(ids(a), ids(b))
}

// archiveStale takes policies out of use that the spec has no more.
func (s *scope) archiveStale(ctx context.Context, ours []keycard.Policy, wanted []v1alpha1.AccessPolicyStatus) error {
	for _, p := range ours {
		if slices.ContainsFunc(wanted, func(w v1alpha1.AccessPolicyStatus) bool { return w.ID == p.ID }) {
			continue
		}
		if err := s.zone.ArchivePolicy(ctx, s.zoneID(), p.ID); err != nil {
			return problem.Remote(err)
		}
	}
	return nil
}

// observePolicies compares the texts in force with the spec, whoever registered them.
func (s *scope) observePolicies(ctx context.Context, now inForce) error {
	texts := map[string]bool{}
	for _, e := range now.version.Manifest.Entries {
		v, err := s.zone.GetPolicyVersion(ctx, s.zoneID(), e.PolicyID, e.PolicyVersionID)
		if err != nil {
			return problem.Remote(err)
		}
		texts[strings.TrimSpace(v.CedarRaw)] = true
	}
	for _, p := range s.resource.Spec.Policies {
		if !texts[strings.TrimSpace(p.Cedar)] {
			s.drift = append(s.drift, drift{at: stepPolicies, object: "policy " + p.Name, fields: []string{"not in force"}})
		}
	}
	return nil
}
