// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"encoding/json"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// schemaView is a version of the Cedar schema.
type schemaView struct {
	Version     string          `json:"version"`
	Status      string          `json:"status"`
	IsDefault   bool            `json:"is_default"`
	CreatedAt   string          `json:"created_at"`
	UpdatedAt   string          `json:"updated_at"`
	CedarSchema string          `json:"cedar_schema,omitempty"`
	CedarJSON   json.RawMessage `json:"cedar_schema_json,omitempty"`
}

// policySchemaRoutes registers the versions of the Cedar schema.
func (s *server) policySchemaRoutes(path string) {
	s.add(operation{
		pattern: "GET " + path, params: append(ordered.params(), "format", "filter[default]", "is_default"), answer: listSchemas,
	})
	s.add(operation{pattern: "GET " + path + "/{version}", params: []string{"format"}, answer: func(c *call) (any, error) {
		version, err := c.schema()
		return c.schemaView(version), err
	}})
	// The request itself says what is wanted: the body may be missing.
	setDefault := taking("PATCH "+path+"/{version}", func(_ *call, wanted *bool) fields {
		*wanted = true
		return fields{flag("is_default", wanted)}
	}, setDefaultSchema)
	setDefault.optional = true
	s.add(setDefault)
}

func (c *call) schemaView(version string) schemaView {
	current := cmp.Or(c.zone.PolicySchema, policy.DefaultSchemaVersion)
	v := schemaView{
		Version: version, Status: "active", IsDefault: version == current,
		CreatedAt: version + "T00:00:00Z", UpdatedAt: version + "T00:00:00Z",
	}
	if c.shows("cedar") {
		v.CedarSchema = policy.Schema
	}
	if c.shows("json") {
		form, err := policy.SchemaJSON()
		v.CedarJSON, c.fault = form, cmp.Or(c.fault, err)
	}
	return v
}

// schemaFilter is the filter of the list, on what the zone's default is.
var schemaFilter = whether(func(v schemaView) bool { return v.IsDefault })

func listSchemas(c *call) (any, error) {
	keep, err := either(filters[schemaView]{}, "filter[default]", "is_default", schemaFilter).test(c)
	if err != nil {
		return nil, err
	}
	var items []item
	for i, version := range policy.SchemaVersions {
		if v := c.schemaView(version); keep(v) {
			items = append(items, item{seq: uint64(i) + 1, view: v})
		}
	}
	return c.page(items, false, ordered)
}

// schema is the version in the path.
func (c *call) schema() (string, error) {
	version := c.r.PathValue("version")
	if isOneOf(policy.SchemaVersions...)(version) != "" {
		return "", &store.NotFoundError{Kind: "policy schema", ID: version}
	}
	return version, nil
}

func setDefaultSchema(c *call, wanted bool) (any, error) {
	version, err := c.schema()
	if err != nil {
		return nil, err
	}
	if !wanted {
		return nil, badRequest("is_default: must be true: make another version the default to put this one out of it")
	}
	c.zone.PolicySchema = version
	if c.zone, err = c.tx.Zones.Replace(c.zone); err != nil {
		return nil, err
	}
	return c.schemaView(version), nil
}
