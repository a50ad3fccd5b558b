// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/cedar-policy/cedar-go"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// statementMark separates a policy's id from the number of a statement.
const statementMark = "#"

// Engine decides for every zone of a store. It is safe for concurrent use. A
// set version is compiled once, when it first decides.
type Engine struct {
	mu sync.Mutex
	// versions are by the id of the set version, which never changes.
	versions map[string]*compiled
}

// Decide answers by the zone's active set. A zone without one allows nothing.
// Sets for a resource, a user or a session take no part.
func (e *Engine) Decide(tx *store.Tx, zoneID string, q Request) (Decision, error) {
	d, shadow := Decision{Set: "none"}, (*Decision)(nil)
	for _, set := range tx.PolicySets.All(zoneID, func(s store.PolicySet) bool { return s.ScopeType == store.ScopeZone }) {
		if set.ActiveVersionID != "" {
			decided, err := e.decide(tx, set, set.ActiveVersionID, q)
			if err != nil {
				return Decision{}, err
			}
			d = decided
		}
		if set.ShadowVersionID != "" {
			decided, err := e.decide(tx, set, set.ShadowVersionID, q)
			if err != nil {
				return Decision{}, err
			}
			shadow = &decided
		}
	}
	d.Shadow = shadow
	return d, nil
}

func (e *Engine) decide(tx *store.Tx, set store.PolicySet, versionID string, q Request) (Decision, error) {
	c, err := e.version(tx, set, versionID)
	if err != nil {
		return Decision{}, fmt.Errorf("compiling the policy set %s: %w", set.Name, err)
	}
	// Sets and policies can be renamed while they decide: the names are today's,
	// and what is compiled has ids.
	d := c.decide(q, func(policyID string) string {
		p, err := tx.Policies.Get(set.ZoneID, policyID)
		if err != nil {
			return policyID
		}
		return p.Name
	})
	d.Set = set.Name
	return d, nil
}

func (e *Engine) version(tx *store.Tx, set store.PolicySet, id string) (*compiled, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.versions[id]; ok {
		return c, nil
	}
	version, err := tx.PolicySetVersions.Get(set.ZoneID, id)
	if err != nil {
		return nil, err
	}
	c := &compiled{version: version.Version, policies: cedar.NewPolicySet()}
	for _, entry := range version.Manifest {
		if err := c.add(tx, set.ZoneID, entry); err != nil {
			return nil, fmt.Errorf("version %d: policy %s: %w", version.Version, entry.PolicyID, err)
		}
	}
	if e.versions == nil {
		e.versions = map[string]*compiled{}
	}
	e.versions[id] = c
	return c, nil
}

func (c *compiled) add(tx *store.Tx, zoneID string, entry store.ManifestEntry) error {
	v, err := tx.PolicyVersions.Get(zoneID, entry.PolicyVersionID)
	if err != nil {
		return err
	}
	statements, err := cedar.NewPolicyListFromBytes("", []byte(v.Cedar))
	if err != nil {
		return err
	}
	for i, statement := range statements {
		c.policies.Add(cedar.PolicyID(entry.PolicyID+statementMark+strconv.Itoa(i)), statement)
	}
	return nil
}
