// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// MaxText is the length in bytes of the longest policy that may come from
// outside. Cedar's parser goes as deep as a text is nested and ends the process
// when the stack is full.
const MaxText = 16 << 10

// maxDepth is how deep the expressions of a policy may be nested; each operator
// of a chain nests the next. The JSON form takes time that is quadratic in it.
const maxDepth = 250

// Check reports what is wrong with a policy's text; the error has the position.
func Check(text string) error {
	_, err := parse(text)
	return err
}

func parse(text string) (cedar.PolicyList, error) {
	statements, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("is not a Cedar policy: %w", err)
	}
	if len(statements) == 0 {
		return nil, errors.New("holds no policy")
	}
	for _, statement := range statements {
		for _, c := range statement.AST().Conditions {
			if deeper(c.Body, maxDepth) {
				return nil, fmt.Errorf("is nested more than %d levels deep: test for one of many values with [...].contains(...)", maxDepth)
			}
		}
	}
	return statements, nil
}

// deeper tells whether an expression has more levels.
func deeper(n ast.IsNode, levels int) bool {
	if levels == 0 {
		return true
	}
	itself, found := true, false
	ast.Inspect(ast.NewNode(n), func(child ast.IsNode) bool {
		if itself {
			itself = false
			return true
		}
		found = found || deeper(child, levels-1)
		return false
	})
	return found
}

// FromJSON turns what ToJSON makes into text, which passes Check.
func FromJSON(raw []byte) (string, error) {
	var form struct {
		StaticPolicies json.RawMessage `json:"staticPolicies"`
	}
	statements := map[cedar.PolicyID]*cedar.Policy{}
	if json.Unmarshal(raw, &form) == nil && form.StaticPolicies != nil {
		var set cedar.PolicySet
		if err := json.Unmarshal(raw, &set); err != nil {
			return "", fmt.Errorf("is not a Cedar policy set in JSON: %w", err)
		}
		statements = maps.Collect(set.All())
	} else {
		var p cedar.Policy
		if err := json.Unmarshal(raw, &p); err != nil {
			return "", fmt.Errorf("is not a Cedar policy in JSON: %w", err)
		}
		statements[""] = &p
	}
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(statements)) {
		out.Write(statements[id].MarshalCedar())
		out.WriteString("\n")
	}
	return out.String(), Check(out.String())
}

// ToJSON turns a text with one policy into Cedar's JSON form, and one with
// several into the JSON form of a policy set.
func ToJSON(text string) (json.RawMessage, error) {
	statements, err := parse(text)
	if err != nil {
		return nil, err
	}
	if len(statements) == 1 {
		return json.Marshal(statements[0])
	}
	set := cedar.NewPolicySet()
	for i, statement := range statements {
		// The ids sort as the statements stand.
		set.Add(cedar.PolicyID(fmt.Sprintf("policy%04d", i)), statement)
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
  context has subject &&
  principal.identifier == %s &&
  [%s].contains(context.subject.identifier)
};
`, quote(application), strings.Join(quoted, ", "))
}

// quote writes a Cedar string literal.
func quote(s string) string { return string(cedar.String(s).MarshalCedar()) }
