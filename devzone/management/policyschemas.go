// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

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
func (s *server) policySchemaRoutes() {
	const path = "/zones/{zone}/policy-schemas"
	s.inZone("GET "+path, s.listSchemas)
	s.inZone("GET "+path+"/{version}", s.getSchema)
	s.inZone("PATCH "+path+"/{version}", s.setDefaultSchema)
}

func schemaViewOf(z store.Zone, version, format string) (schemaView, error) {
	current := z.PolicySchema
	if current == "" {
		current = policy.DefaultSchemaVersion
	}
	v := schemaView{
		Version: version, Status: "active", IsDefault: version == current,
		CreatedAt: version + "T00:00:00Z", UpdatedAt: version + "T00:00:00Z",
	}
	if format != "json" {
		v.CedarSchema = policy.Schema
		return v, nil
	}
	var err error
	v.CedarJSON, err = policy.SchemaJSON()
	return v, err
}

func (s *server) listSchemas(r *http.Request) (any, error) {
	q := r.URL.Query()
	format, err := parseFormat(q)
	if err != nil {
		return nil, err
	}
	only := q.Get("filter[default]") + q.Get("is_default")
	if only != "" && only != "true" && only != "false" {
		return nil, badRequest("filter[default]: must be true or false")
	}
	return listOf(s, r, false, func(tx *store.Tx) ([]item, error) {
		z, err := tx.Zones.Get("", r.PathValue("zone"))
		if err != nil {
			return nil, err
		}
		var items []item
		for i, version := range policy.SchemaVersions {
			v, err := schemaViewOf(z, version, format)
			if err != nil {
				return nil, err
			}
			if equals(only, fmt.Sprint(v.IsDefault)) {
				items = append(items, item{seq: uint64(i) + 1, view: v})
			}
		}
		return items, nil
	})
}

// schemaOf finds the version in the path.
func schemaOf(r *http.Request) (string, error) {
	version := r.PathValue("version")
	if isOneOf(policy.SchemaVersions...)(version) != "" {
		return "", &store.NotFoundError{Kind: "policy schema", ID: version}
	}
	return version, nil
}

func (s *server) getSchema(r *http.Request) (any, error) {
	version, err := schemaOf(r)
	if err != nil {
		return nil, err
	}
	format, err := parseFormat(r.URL.Query())
	if err != nil {
		return nil, err
	}
	var out schemaView
	err = s.Store.View(func(tx *store.Tx) error {
		z, err := tx.Zones.Get("", r.PathValue("zone"))
		if err != nil {
			return err
		}
		out, err = schemaViewOf(z, version, format)
		return err
	})
	return out, err
}

func (s *server) setDefaultSchema(r *http.Request) (any, error) {
	version, err := schemaOf(r)
	if err != nil {
		return nil, err
	}
	if err := readDefault(r); err != nil {
		return nil, err
	}
	var out schemaView
	err = s.Store.Do(func(tx *store.Tx) error {
		z, err := tx.Zones.Get("", r.PathValue("zone"))
		if err != nil {
			return err
		}
		z.PolicySchema = version
		if z, err = tx.Zones.Replace(z); err != nil {
			return err
		}
		out, err = schemaViewOf(z, version, "")
		return err
	})
	return out, err
}

// readDefault reads the body, which may be missing: the request itself says what
// is wanted.
func readDefault(r *http.Request) error {
	data, err := readBody(r)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	o, err := parseObject(data)
	if err != nil {
		return err
	}
	wanted := true
	o.flag("is_default", &wanted)
	if !wanted {
		o.problem("is_default", "must be true: make another version the default to put this one out of it")
	}
	return o.err()
}
