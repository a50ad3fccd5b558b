// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// policyView is a policy with what its latest version adds.
type policyView struct {
	ID                  string     `json:"id"`
	ZoneID              string     `json:"zone_id"`
	OwnerType           string     `json:"owner_type"`
	Name                string     `json:"name"`
	Description         *string    `json:"description"`
	CreatedAt           time.Time  `json:"created_at"`
	CreatedBy           string     `json:"created_by"`
	UpdatedAt           time.Time  `json:"updated_at"`
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

// policyRoutes registers policies and their versions. A version never changes;
// deleting archives, because a set may still name what is deleted.
func (s *server) policyRoutes() {
	const path = "/zones/{zone}/policies"
	s.inZone("GET "+path, s.listPolicies)
	s.inZone("POST "+path, s.createPolicy)
	s.inZone("GET "+path+"/{id}", s.getPolicy)
	s.inZone("PATCH "+path+"/{id}", s.updatePolicy)
	s.inZone("DELETE "+path+"/{id}", s.archivePolicy)
	s.inZone("GET "+path+"/{id}/versions", s.listPolicyVersions)
	s.inZone("POST "+path+"/{id}/versions", s.createPolicyVersion)
	s.inZone("GET "+path+"/{id}/versions/{version}", s.getPolicyVersion)
	s.inZone("DELETE "+path+"/{id}/versions/{version}", s.archivePolicyVersion)
}

func policyViewOf(tx *store.Tx, p store.Policy) policyView {
	v := policyView{
		ID: p.ID, ZoneID: p.ZoneID, OwnerType: p.OwnerType, Name: p.Name, Description: p.Description,
		CreatedAt: p.CreatedAt, CreatedBy: p.CreatedBy, UpdatedAt: p.UpdatedAt, UpdatedBy: p.UpdatedBy, ArchivedAt: p.ArchivedAt,
	}
	if versions := tx.PolicyVersionsOf(p.ZoneID, p.ID); len(versions) > 0 {
		latest := versions[len(versions)-1]
		v.LatestVersion, v.LatestVersionID, v.LatestSchemaVersion = latest.Version, latest.ID, latest.SchemaVersion
	}
	return v
}

func (s *server) listPolicies(r *http.Request) (any, error) {
	q := r.URL.Query()
	descending, err := parseOrder(q, "created_at")
	if err != nil {
		return nil, err
	}
	keep, err := filterPolicies(q)
	if err != nil {
		return nil, err
	}
	return policies().list(s, r, descending, func(tx *store.Tx) ([]store.Policy, error) {
		return tx.Policies.All(r.PathValue("zone"), keep), nil
	})
}

func filterPolicies(q url.Values) (func(store.Policy) bool, error) {
	ids := q["filter[id]"]
	if len(ids) > maxFilterIDs {
		return nil, badRequest("filter[id]: must be given at most %d times, got %d", maxFilterIDs, len(ids))
	}
	if len(ids) > 0 && (q.Has("after") || q.Has("before")) {
		return nil, badRequest("filter[id]: must not be used together with after and before")
	}
	if err := checkOwner(q); err != nil {
		return nil, err
	}
	return func(p store.Policy) bool {
		return (len(ids) == 0 || slices.Contains(ids, p.ID)) && equals(q.Get("filter[owner_type]"), p.OwnerType) && searched(q, p)
	}, nil
}

// searched tests a policy against query, query[name] and query[description].
func searched(q url.Values, p store.Policy) bool {
	has := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	description := ""
	if p.Description != nil {
		description = *p.Description
	}
	return (has(p.Name, q.Get("query")) || has(description, q.Get("query"))) &&
		has(p.Name, q.Get("query[name]")) && has(description, q.Get("query[description]"))
}

func checkOwner(q url.Values) error {
	switch q.Get("filter[owner_type]") {
	case "", store.OwnerPlatform, store.OwnerCustomer:
		return nil
	}
	return badRequest("filter[owner_type]: must be one of %s, %s", store.OwnerPlatform, store.OwnerCustomer)
}

// parseOrder reads sort and order.
func parseOrder(q url.Values, fields ...string) (descending bool, err error) {
	if by := q.Get("sort"); by != "" && !slices.Contains(fields, by) {
		return false, badRequest("sort: must be one of %s", strings.Join(fields, ", "))
	}
	switch q.Get("order") {
	case "", "asc":
		return false, nil
	case "desc":
		return true, nil
	}
	return false, badRequest("order: must be asc or desc")
}

// ordered turns a list round. The places are mirrored with it, because the
// cursors of a list grow.
func ordered(items []item, descending bool) []item {
	if !descending {
		return items
	}
	slices.Reverse(items)
	for i := range items {
		items[i].seq = 1<<63 - 1 - items[i].seq
	}
	return items
}

// policies is the kind of policies.
func policies() policyKind[store.Policy, *store.Policy] {
	return policyKind[store.Policy, *store.Policy]{
		name:  "policy",
		table: func(tx *store.Tx) *store.Table[store.Policy, *store.Policy] { return tx.Policies },
		state: func(p store.Policy) (string, *time.Time) { return p.OwnerType, p.ArchivedAt },
		view:  func(tx *store.Tx, p store.Policy) (any, error) { return policyViewOf(tx, p), nil },
		find: func(tx *store.Tx, r *http.Request) (store.Policy, error) {
			return tx.Policies.Get(r.PathValue("zone"), r.PathValue("id"))
		},
	}
}

// policyVersions is the kind of their versions, shown in a format.
func policyVersions(format string) policyKind[store.PolicyVersion, *store.PolicyVersion] {
	return policyKind[store.PolicyVersion, *store.PolicyVersion]{
		name:  "policy version",
		table: func(tx *store.Tx) *store.Table[store.PolicyVersion, *store.PolicyVersion] { return tx.PolicyVersions },
		state: func(v store.PolicyVersion) (string, *time.Time) { return v.OwnerType, v.ArchivedAt },
		view:  func(_ *store.Tx, v store.PolicyVersion) (any, error) { return policyVersionViewOf(v, format) },
		find: func(tx *store.Tx, r *http.Request) (store.PolicyVersion, error) {
			v, err := tx.PolicyVersions.Get(r.PathValue("zone"), r.PathValue("version"))
			if err == nil && v.PolicyID != r.PathValue("id") {
				err = &store.NotFoundError{Kind: "policy version", ID: v.ID}
			}
			return v, err
		},
	}
}

func (s *server) createPolicy(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	p := store.Policy{Meta: store.Meta{ZoneID: r.PathValue("zone")}, OwnerType: store.OwnerCustomer, CreatedBy: caller(r).ClientID}
	o.text("name", true, &p.Name, isName)
	o.nullableText("description", &p.Description, isDescription)
	if err := o.err(); err != nil {
		return nil, err
	}
	return policies().add(s, p)
}

func (s *server) getPolicy(r *http.Request) (any, error) { return policies().get(s, r) }

func (s *server) updatePolicy(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	return policies().change(s, r, func(tx *store.Tx, p *store.Policy) error {
		o.text("name", false, &p.Name, isName)
		o.nullableText("description", &p.Description, isDescription)
		p.UpdatedBy = caller(r).ClientID
		if err := o.err(); err != nil {
			return err
		}
		return namedOnce(tx, *p)
	})
}

func (s *server) archivePolicy(r *http.Request) (any, error) {
	return policies().change(s, r, func(tx *store.Tx, p *store.Policy) error {
		p.ArchivedAt, p.UpdatedBy = s.now(), caller(r).ClientID
		return unused(tx, p.ZoneID, "policy", func(e store.ManifestEntry) bool { return e.PolicyID == p.ID })
	})
}

func policyVersionViewOf(v store.PolicyVersion, format string) (policyVersionView, error) {
	out := policyVersionView{
		ID: v.ID, ZoneID: v.ZoneID, OwnerType: v.OwnerType, PolicyID: v.PolicyID, Version: v.Version,
		SchemaVersion: v.SchemaVersion, SHA: v.SHA, CreatedAt: v.CreatedAt, CreatedBy: v.CreatedBy,
		ArchivedAt: v.ArchivedAt, ArchivedBy: v.ArchivedBy,
	}
	if format != "json" {
		out.CedarRaw = v.Cedar
		return out, nil
	}
	var err error
	out.CedarJSON, err = policy.ToJSON(v.Cedar)
	return out, err
}

// parseFormat reads the format parameter: cedar or json.
func parseFormat(q url.Values) (string, error) {
	switch format := q.Get("format"); format {
	case "", "cedar", "json":
		return format, nil
	}
	return "", badRequest("format: must be cedar or json")
}

func (s *server) listPolicyVersions(r *http.Request) (any, error) {
	q := r.URL.Query()
	format, err := parseFormat(q)
	if err != nil {
		return nil, err
	}
	descending, err := parseOrder(q, "created_at")
	if err != nil {
		return nil, err
	}
	return policyVersions(format).list(s, r, descending, func(tx *store.Tx) ([]store.PolicyVersion, error) {
		p, err := policies().find(tx, r)
		return tx.PolicyVersionsOf(p.ZoneID, p.ID), err
	})
}

func (s *server) createPolicyVersion(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	v := store.PolicyVersion{
		Meta:     store.Meta{ZoneID: r.PathValue("zone")},
		PolicyID: r.PathValue("id"), OwnerType: store.OwnerCustomer, CreatedBy: caller(r).ClientID,
	}
	o.text("schema_version", true, &v.SchemaVersion, isOneOf(policy.SchemaVersions...))
	readCedar(o, &v.Cedar)
	if err := o.err(); err != nil {
		return nil, err
	}
	v.SHA = policy.SHA(v.Cedar)
	misfits, err := policy.Misfits(v.Cedar)
	if err != nil {
		return nil, err
	}
	var out policyVersionView
	err = s.Store.Do(func(tx *store.Tx) error {
		p, err := tx.Policies.Get(v.ZoneID, v.PolicyID)
		if err != nil {
			return err
		}
		if err := changeable("policy", p.OwnerType, p.ArchivedAt); err != nil {
			return err
		}
		v.Version = len(tx.PolicyVersionsOf(v.ZoneID, v.PolicyID)) + 1
		if v, err = tx.PolicyVersions.Insert(v); err != nil {
			return err
		}
		out, err = policyVersionViewOf(v, "")
		return err
	})
	if err == nil && len(misfits) > 0 {
		s.Logger.WarnContext(r.Context(), "policy does not fit the schema",
			"zone", v.ZoneID, "policy", v.PolicyID, "version", v.Version, "misfits", misfits)
	}
	return out, err
}

const tooLong = "must be at most %d bytes long as text, got %d: split the policy"

// readCedar reads exactly one of cedar_raw and cedar_json.
func readCedar(o object, text *string) {
	raw, form := get[string](o, "cedar_raw", "a string"), get[json.RawMessage](o, "cedar_json", "an object")
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

func (s *server) getPolicyVersion(r *http.Request) (any, error) {
	format, err := parseFormat(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return policyVersions(format).get(s, r)
}

func (s *server) archivePolicyVersion(r *http.Request) (any, error) {
	return policyVersions("").change(s, r, func(tx *store.Tx, v *store.PolicyVersion) error {
		v.ArchivedAt, v.ArchivedBy = s.now(), caller(r).ClientID
		return unused(tx, v.ZoneID, "policy version", func(e store.ManifestEntry) bool { return e.PolicyVersionID == v.ID })
	})
}
