// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// SchemaVersions are the versions of the Cedar schema, oldest first. They differ
// in date only.
var SchemaVersions = []string{"2026-02-24", "2026-03-16", "2026-06-18"}

// DefaultSchemaVersion is the one of a fresh zone.
const DefaultSchemaVersion = "2026-03-16"

// Schema is the Cedar schema of every version. What does not fit it is told (see
// Misfits) and not refused: the hosted service's schema may have more than is
// known here, and a policy that works there must work here.
const Schema = `namespace Keycard {
  type Claims = {
    iss?: String,
    sub?: String,
    aud?: Set<String>,
    exp?: Long,
    iat?: Long,
    jti?: String,
    client_id?: String,
    scope?: String,
    sub_profile?: String,
    keycard_app_id?: String,
    sid?: String,
    target?: Set<String>,
    act?: { sub: String },
  };
  entity User = {
    identifier: String,
    email: String,
    groups: Set<String>,
  };
  entity Application = {
    identifier: String,
    registration_method: String,
    credential_type: String,
    dependencies: Set<String>,
    traits: Set<String>,
  };
  entity Resource = {
    identifier: String,
    name: String,
    scopes: Set<String>,
  };
  action "credentials:issue" appliesTo {
    principal: [User, Application],
    resource: [Resource],
    context: {
      on_behalf: Bool,
      impersonate: Bool,
      subject?: User,
      resource: Resource,
      scopes: Set<String>,
      actor_claims: Claims,
      subject_claims: Claims,
    },
  };
}
`

// SchemaJSON is the schema in Cedar's JSON form.
func SchemaJSON() (json.RawMessage, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		return nil, err
	}
	return s.MarshalJSON()
}

// validator checks policies against the schema.
var validator = sync.OnceValue(func() *validate.Validator {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		panic("the schema is not Cedar: " + err.Error())
	}
	resolved, err := s.Resolve()
	if err != nil {
		panic("the schema does not hold together: " + err.Error())
	}
	return validate.New(resolved)
})

// Misfits tells what in a policy's text does not fit the schema: a misspelt
// entity type, action or attribute, most likely.
func Misfits(text string) ([]string, error) {
	statements, err := parse(text)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, statement := range statements {
		if err := validator().Policy("", (*ast.Policy)(statement.AST())); err != nil {
			out = union(out, strings.Split(strings.ReplaceAll(err.Error(), "for policy ``, ", ""), "\n"))
		}
	}
	return out, nil
}
