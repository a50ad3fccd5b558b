// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"sync"

	"github.com/cedar-policy/cedar-go"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// statementMark separates a policy's name from the number of a statement. Names
// can't hold it, because they hold no control characters.
const statementMark = "\x00"

// Engine decides for every zone of a store. It is safe for concurrent use. A
// set version is compiled once, when it first decides.
type Engine struct {
	mu sync.Mutex
	// versions are by the id of the set version, which never changes.
	versions map[string]*compiled
}

// Decide answers by the zone's active set. A zone without one allows nothing.
func (e *Engine) Decide(tx *store.Tx, zoneID string, q Request) (Decision, error) {
	var active, shadow *compiled
	for _, set := range tx.PolicySets.All(zoneID, nil) {
		for id, place := range map[string]**compiled{set.ActiveVersionID: &active, set.ShadowVersionID: &shadow} {
			if id == "" {
				continue
			}
			version, err := e.version(tx, set, id)
			if err != nil {
				return Decision{}, err
			}
			*place = version
		}
	}
	if active == nil {
		return Decision{Set: "none"}, nil
	}
	d := active.decide(q)
	if shadow != nil {
		s := shadow.decide(q)
		d.Shadow = &s
	}
	return d, nil
}

func (e *Engine) version(tx *store.Tx, set store.PolicySet, id string) (*compiled, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.versions[id]; ok && c.set == set.Name {
		return c, nil
	}
	version, err := tx.PolicySetVersions.Get(set.ZoneID, id)
	if err != nil {
		return nil, err
	}
	c := &compiled{set: set.Name, version: version.Version, policies: cedar.NewPolicySet()}
	for _, entry := range version.Manifest {
		if err := c.add(tx, set.ZoneID, entry); err != nil {
			return nil, fmt.Errorf("compiling version %d of the policy set %s: %w", version.Version, set.Name, err)
		}
	}
	if e.versions == nil {
		e.versions = map[string]*compiled{}
	}
	e.versions[id] = c
	return c, nil
}

func (c *compiled) add(tx *store.Tx, zoneID string, entry store.ManifestEntry) error {
	p, err := tx.Policies.Get(zoneID, entry.PolicyID)
	if err != nil {
		return err
	}
	v, err := tx.PolicyVersions.Get(zoneID, entry.PolicyVersionID)
	if err != nil {
		return err
	}
	statements, err := cedar.NewPolicyListFromBytes(p.Name, []byte(v.Cedar))
	if err != nil {
		return err
	}
	for i, statement := range statements {
		// The id of the entry keeps policies apart that have the same name.
		c.policies.Add(cedar.PolicyID(fmt.Sprintf("%s%s%s.%d", p.Name, statementMark, entry.PolicyVersionID, i)), statement)
	}
	return nil
}
