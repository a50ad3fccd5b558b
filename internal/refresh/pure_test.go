// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The package decides and does nothing else: no goroutine, no channel, no clock. The linter keeps the imports.
func TestNoGoroutineChannelOrClock(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	paths = slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
	if len(paths) == 0 {
		t.Fatal("there is no source here")
	}
	for _, path := range paths {
		for _, found := range impure(t, path, nil) {
			t.Error(found)
		}
	}
}

// That the test above finds what it looks for.
func TestImpure(t *testing.T) {
	found := impure(t, "a.go", `package a

import clock "time"

func a(c chan int) {
	go a(nil)
	c <- 1
	<-c
	select {}
	_ = clock.Now().Add(clock.Second)
}
`)
	want := []string{
		"a.go:5: a channel", "a.go:6: a goroutine", "a.go:7: a channel", "a.go:8: a channel", "a.go:9: a channel", "a.go:10: the clock: Now",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

// impure lists the goroutines, channels and readings of the clock in a file.
func impure(t *testing.T, path string, source any) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	clock := ""
	for _, i := range file.Imports {
		if i.Path.Value == `"time"` {
			clock = "time"
			if i.Name != nil {
				clock = i.Name.Name
			}
		}
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if what := impurity(n, clock); what != "" {
			found = append(found, fmt.Sprintf("%s:%d: %s", path, files.Position(n.Pos()).Line, what))
		}
		return true
	})
	return found
}

// impurity says what a decision may not do in n; empty when it may do all of it. clock is the name by which the file has
// package time.
func impurity(n ast.Node, clock string) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine"
	case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
		return "a channel"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a channel"
		}
	case *ast.SelectorExpr:
		reads := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}
		if of, ok := n.X.(*ast.Ident); ok && of.Name == clock && slices.Contains(reads, n.Sel.Name) {
			return "the clock: " + n.Sel.Name
		}
	}
	return ""
}
