// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
)

// SchemaVersions are the versions of the Cedar schema, oldest first. They differ
// in date only.
var SchemaVersions = []string{"2026-02-24", "2026-03-16", "2026-06-18"}

// DefaultSchemaVersion is the one of a fresh zone.
const DefaultSchemaVersion = "2026-03-16"

// Schema is the Cedar schema of every version. Policies are parsed but not
// checked against it: the hosted service's schema may have more than is known
// here, and a policy that works there must not be refused.
const Schema = `namespace Keycard {
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
      actor_claims: {},
      subject_claims: {},
    },
  };
}
`

// Check reports what is wrong with a policy's text; the error has the position.
func Check(text string) error {
	statements, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return fmt.Errorf("is not a Cedar policy: %w", err)
	}
	if len(statements) == 0 {
		return errors.New("holds no policy")
	}
	return nil
}

// FromJSON turns a policy in Cedar's JSON form into text.
func FromJSON(raw []byte) (string, error) {
	var p cedar.Policy
	if err := json.Unmarshal(raw, &p); err != nil {
		return "", fmt.Errorf("is not a Cedar policy in JSON: %w", err)
	}
	return string(p.MarshalCedar()), nil
}

// ToJSON turns a text with one policy into Cedar's JSON form, and one with
// several into the JSON form of a policy set.
func ToJSON(text string) (json.RawMessage, error) {
	statements, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, err
	}
	if len(statements) == 1 {
		return json.Marshal(statements[0])
	}
	set := cedar.NewPolicySet()
	for i, statement := range statements {
		set.Add(cedar.PolicyID(fmt.Sprintf("policy%d", i)), statement)
	}
	return json.Marshal(set)
}

// SHA is the digest that names a text, "sha256:" and hexadecimal.
func SHA(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Impersonation is a policy that permits an application to act for the users in
// their absence.
func Impersonation(application string, users []string) string {
	quoted := make([]string, len(users))
	for i, u := range users {
		quoted[i] = quote(u)
	}
	return fmt.Sprintf(`permit (
  principal is Keycard::Application,
  action,
  resource
) when {
  context.impersonate &&
  principal.identifier == %s &&
  [%s].contains(context.subject.identifier)
};
`, quote(application), strings.Join(quoted, ", "))
}

// quote writes a Cedar string literal.
func quote(s string) string { return string(cedar.String(s).MarshalCedar()) }

// SchemaJSON is the schema in Cedar's JSON form.
func SchemaJSON() (json.RawMessage, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		return nil, err
	}
	return s.MarshalJSON()
}
