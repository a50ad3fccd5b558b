// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Every reason has its line in the runbook, and the runbook has no reason that does not exist.
func TestRunbookHasEveryReason(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		reasons[value] = true
		return true
	})
	raw, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			reason, _, _ := strings.Cut(cell, "`")
			listed[reason] = true
		}
	}
	for reason := range reasons {
		if !listed[reason] {
			t.Errorf("docs/conditions.md does not explain %s", reason)
		}
	}
	for reason := range listed {
		if !reasons[reason] {
			t.Errorf("docs/conditions.md explains %s, which is no reason", reason)
		}
	}
}
