// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// policyView is a policy with what its latest version adds.
type policyView struct {
	base
	OwnerType           string     `json:"owner_type"`
	Name                string     `json:"name"`
	Description         *string    `json:"description"`
	CreatedBy           string     `json:"created_by"`
	UpdatedBy           string     `json:"updated_by,omitempty"`
	ArchivedAt          *time.Time `json:"archived_at,omitempty"`
	LatestVersion       int        `json:"latest_version,omitempty"`
	LatestVersionID     string     `json:"latest_version_id,omitempty"`
	LatestSchemaVersion string     `json:"latest_schema_version,omitempty"`
}

func (v policyView) tag() string { return entityTag(v) }

type policyVersionView struct {
	ID            string          `json:"id"`
	ZoneID        string          `json:"zone_id"`
	OwnerType     string          `json:"owner_type"`
	PolicyID      string          `json:"policy_id"`
	Version       int             `json:"version"`
	SchemaVersion string          `json:"schema_version"`
	SHA           string          `json:"sha"`
	CreatedAt     time.Time       `json:"created_at"`
	CreatedBy     string          `json:"created_by"`
	ArchivedAt    *time.Time      `json:"archived_at,omitempty"`
	ArchivedBy    string          `json:"archived_by,omitempty"`
	CedarRaw      string          `json:"cedar_raw,omitempty"`
	CedarJSON     json.RawMessage `json:"cedar_json,omitempty"`
}

// policies and their versions: a version never changes, and deleting archives, because a set may
// still name what is deleted.
var policies = kind[store.Policy]{
	shape: ordered,
	table: func(tx *store.Tx) *store.Table[store.Policy] { return tx.Policies },
	view:  func(c *call, p store.Policy) any { return c.policyView(p) },
	guard: func(_ *call, p store.Policy) error { return changeable("policy", p.OwnerType, p.ArchivedAt) },
	empty: func(c *call) store.Policy {
		return store.Policy{Meta: store.Meta{ZoneID: c.zone.ID}, OwnerType: store.OwnerCustomer, CreatedBy: c.caller.ClientID}
	},
	fields: func(_ *call, p *store.Policy, creating bool) fields {
		return fields{text("name", creating, &p.Name, isName), nullableText("description", &p.Description, isDescription)}
	},
	filters: filters[store.Policy]{
		"filter[id]":         among(func(p store.Policy) string { return p.ID }),
		"filter[owner_type]": owners(func(p store.Policy) string { return p.OwnerType }),
		"query":              contains(policyName, policyDescription),
		"query[name]":        contains(policyName),
		"query[description]": contains(policyDescription),
	},
	orders: func(*call) map[string]func(a, b store.Policy) int { return nil },
	adjust: func(c *call, p *store.Policy) error {
		p.UpdatedBy = c.caller.ClientID
		return namedOnce(c.tx, *p)
	},
	archive: func(c *call, p *store.Policy) error {
		p.ArchivedAt, p.UpdatedBy = c.now(), c.caller.ClientID
		return unused(c.tx, p.ZoneID, "policy", func(e store.ManifestEntry) bool { return e.PolicyID == p.ID })
	},
}

func policyName(p store.Policy) string        { return p.Name }
func policyDescription(p store.Policy) string { return deref(p.Description) }

var policyVersions = kind[store.PolicyVersion]{
	shape: ordered,
	param: "version",
	shown: []string{"format"},
	table: func(tx *store.Tx) *store.Table[store.PolicyVersion] { return tx.PolicyVersions },
	view:  func(c *call, v store.PolicyVersion) any { return c.policyVersionView(v) },
	guard: func(_ *call, v store.PolicyVersion) error {
		return changeable("policy version", v.OwnerType, v.ArchivedAt)
	},
	within: func(c *call) (func(store.PolicyVersion) bool, error) {
		p, err := c.policy()
		return func(v store.PolicyVersion) bool { return v.PolicyID == p.ID }, err
	},
	orders: func(*call) map[string]func(a, b store.PolicyVersion) int { return nil },
	empty: func(c *call) store.PolicyVersion {
		return store.PolicyVersion{
			Meta: store.Meta{ZoneID: c.zone.ID}, PolicyID: c.r.PathValue("id"), OwnerType: store.OwnerCustomer, CreatedBy: c.caller.ClientID,
		}
	},
	fields: func(_ *call, v *store.PolicyVersion, _ bool) fields {
		return fields{
			text("schema_version", true, &v.SchemaVersion, isOneOf(policy.SchemaVersions...)),
			{name: "cedar_raw", read: func(o object) { readCedar(o, &v.Cedar) }},
			{name: "cedar_json", read: func(object) {}},
		}
	},
	insert: insertPolicyVersion,
	archive: func(c *call, v *store.PolicyVersion) error {
		v.ArchivedAt, v.ArchivedBy = c.now(), c.caller.ClientID
		return unused(c.tx, v.ZoneID, "policy version", func(e store.ManifestEntry) bool { return e.PolicyVersionID == v.ID })
	},
}

// policy is the one that the path names.
func (c *call) policy() (store.Policy, error) {
	return c.tx.Policies.Get(c.zone.ID, c.r.PathValue("id"))
}

func (c *call) policyView(p store.Policy) policyView {
	v := policyView{
		base: plain(p.Meta), OwnerType: p.OwnerType, Name: p.Name, Description: p.Description,
		CreatedBy: p.CreatedBy, UpdatedBy: p.UpdatedBy, ArchivedAt: p.ArchivedAt,
	}
	if versions := c.tx.PolicyVersionsOf(p.ZoneID, p.ID); len(versions) > 0 {
		latest := versions[len(versions)-1]
		v.LatestVersion, v.LatestVersionID, v.LatestSchemaVersion = latest.Version, latest.ID, latest.SchemaVersion
	}
	return v
}

func insertPolicyVersion(c *call, v store.PolicyVersion) (store.PolicyVersion, error) {
	p, err := c.policy()
	if err != nil {
		return v, err
	}
	if err := changeable("policy", p.OwnerType, p.ArchivedAt); err != nil {
		return v, err
	}
	misfits, err := policy.Misfits(v.Cedar)
	if err != nil {
		return v, err
	}
	v.SHA = policy.SHA(v.Cedar)
	v.Version = len(c.tx.PolicyVersionsOf(v.ZoneID, v.PolicyID)) + 1
	if len(misfits) > 0 {
		c.Logger.WarnContext(c.r.Context(), "policy does not fit the schema",
			"zone", v.ZoneID, "policy", v.PolicyID, "version", v.Version, "misfits", misfits)
	}
	return c.tx.PolicyVersions.Insert(v)
}

func (c *call) policyVersionView(v store.PolicyVersion) policyVersionView {
	out := policyVersionView{
		ID: v.ID, ZoneID: v.ZoneID, OwnerType: v.OwnerType, PolicyID: v.PolicyID, Version: v.Version,
		SchemaVersion: v.SchemaVersion, SHA: v.SHA, CreatedAt: v.CreatedAt, CreatedBy: v.CreatedBy,
		ArchivedAt: v.ArchivedAt, ArchivedBy: v.ArchivedBy,
	}
	if c.shows("cedar") {
		out.CedarRaw = v.Cedar
	}
	if c.shows("json") {
		form, err := policy.ToJSON(v.Cedar)
		out.CedarJSON, c.fault = form, cmp.Or(c.fault, err)
	}
	return out
}

// shows reports whether a text is shown in a form of Cedar, which the parameter format narrows.
func (c *call) shows(form string) bool {
	format := c.params.one("format")
	if isOneOf("", "cedar", "json")(format) != "" {
		c.fault = badRequest("format: must be cedar or json")
	}
	return format == "" || format == form
}

const tooLong = "must be at most %d bytes long as text, got %d: split the policy"

// readCedar reads exactly one of cedar_raw and cedar_json.
func readCedar(o object, text *string) {
	raw, form := getAs[string](o, "cedar_raw", "a string"), getAs[json.RawMessage](o, "cedar_json", "an object")
	given := func(set, null bool) bool { return set && !null }
	var err error
	switch {
	case given(raw.set, raw.null) == given(form.set, form.null):
		o.problem("cedar_raw", "exactly one of cedar_raw and cedar_json is required")
	case given(raw.set, raw.null) && len(raw.value) > policy.MaxText:
		o.problem("cedar_raw", fmt.Sprintf(tooLong, policy.MaxText, len(raw.value)))
	case given(raw.set, raw.null):
		*text = raw.value
		if err = policy.Check(raw.value); err != nil {
			o.problem("cedar_raw", err.Error())
		}
	default:
		if *text, err = policy.FromJSON(form.value); err != nil {
			o.problem("cedar_json", err.Error())
		} else if len(*text) > policy.MaxText {
			o.problem("cedar_json", fmt.Sprintf(tooLong, policy.MaxText, len(*text)))
		}
	}
}
