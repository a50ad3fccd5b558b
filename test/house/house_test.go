// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package house keeps the limits of the operator's source: how large a package, a type and a function may get. It reads the
// source and needs no types. What a linter measures in one function, it measures in the whole.
package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The limits. A type that is wider holds more than one thing; a package that is longer is more than one room.
const (
	maxFields    = 15
	maxMethods   = 40
	maxLines     = 1200 // of a package, comments counted
	maxFunction  = 80
	maxReconcile = 40 // a function named Reconcile is the table of contents of its controller
)

// longer are the packages that may have more lines, how many, and why.
var longer = map[string]struct {
	lines int
	why   string
}{
	"api/v1alpha1":     {1400, "two thirds are comments, which are the reference of the API; a version of a group is one package"},
	"internal/keycard": {3200, "the client of one remote API, whose types would have to be exported for nothing but a border"},
}

// The operator's programs and packages. Other parts of the tree are not linked into it.
var folders = []string{"api", "cmd", "controllers", "internal"}

// Types are measured where state lives: elsewhere wide structs mirror a wire format or a list of flags.
var stateful = []string{"controllers/", "internal/refresh"}

// pkg is what is measured of a package.
type pkg struct {
	lines     int
	fields    map[string]int // by name of the struct type; "" for those without a name, of which the widest counts
	methods   map[string]int // by name of the receiver's type
	functions map[string]int // lines, by name with the receiver
}

func newPkg() *pkg {
	return &pkg{fields: map[string]int{}, methods: map[string]int{}, functions: map[string]int{}}
}

// add measures a file.
func (p *pkg) add(t *testing.T, name string, source []byte) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return
	}
	p.lines += bytes.Count(source, []byte("\n"))
	named := map[*ast.StructType]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if s, ok := n.Type.(*ast.StructType); ok {
				p.fields[n.Name.Name] = max(p.fields[n.Name.Name], s.Fields.NumFields())
				named[s] = true
			}
		case *ast.StructType:
			if !named[n] {
				p.fields[""] = max(p.fields[""], n.Fields.NumFields())
			}
		case *ast.FuncDecl:
			name := n.Name.Name
			if n.Recv.NumFields() == 1 {
				receiver := base(n.Recv.List[0].Type)
				p.methods[receiver]++
				name = receiver + "." + name
			}
			p.functions[name] = max(p.functions[name], files.Position(n.End()).Line-files.Position(n.Pos()).Line+1)
		}
		return true
	})
}

// base is the name of a receiver's type.
func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.IndexListExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// measure reads the packages under root, by their path.
func measure(t *testing.T, root string) map[string]*pkg {
	t.Helper()
	packages := map[string]*pkg{}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			at, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			if packages[at] == nil {
				packages[at] = newPkg()
			}
			packages[at].add(t, path, source)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return packages
}

func TestLimits(t *testing.T) {
	packages := measure(t, filepath.Join("..", ".."))
	if len(packages) < 20 {
		t.Fatalf("only %d packages were found: is the folder right?", len(packages))
	}
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		p := packages[path]
		limit := maxLines
		if exception, ok := longer[path]; ok {
			limit = exception.lines
			if p.lines <= maxLines {
				t.Errorf("%s has %d lines: it needs no exception any more", path, p.lines)
			}
		}
		if p.lines > limit {
			t.Errorf("%s has %d lines, more than %d: split it where its concerns part", path, p.lines, limit)
		}
		for name, lines := range p.functions {
			limit := maxFunction
			if name == "Reconcile" || strings.HasSuffix(name, ".Reconcile") {
				limit = maxReconcile
			}
			if lines > limit {
				t.Errorf("%s: function %s has %d lines, more than %d", path, name, lines, limit)
			}
		}
		if !slices.ContainsFunc(stateful, func(prefix string) bool { return strings.HasPrefix(path+"/", prefix) }) {
			continue
		}
		for name, fields := range p.fields {
			if fields > maxFields {
				t.Errorf("%s: type %q has %d fields, more than %d", path, name, fields, maxFields)
			}
		}
		for name, methods := range p.methods {
			if methods > maxMethods {
				t.Errorf("%s: type %s has %d methods, more than %d", path, name, methods, maxMethods)
			}
		}
	}
	for path := range longer {
		if packages[path] == nil {
			t.Errorf("there is no package %s, which has an exception", path)
		}
	}
}

// What is measured, on a file of which all is known.
func TestMeasure(t *testing.T) {
	p := newPkg()
	p.add(t, "a.go", []byte(`package a

type wide[T any] struct {
	a, b int
	c    string
	error
}

func (w *wide[T]) one() {
	_ = struct{ a, b, c, d, e int }{}
}

func (w wide[T]) two() {}

func Reconcile() {
	one()
	two()
}
`))
	p.add(t, "zz_generated.go", []byte("// Code generated by hand. DO NOT EDIT.\n\npackage a\n\nfunc long() {}\n"))
	if p.lines != 18 {
		t.Errorf("lines = %d", p.lines)
	}
	if want := map[string]int{"wide": 4, "": 5}; !maps.Equal(p.fields, want) {
		t.Errorf("fields = %v, want %v", p.fields, want)
	}
	if want := map[string]int{"wide": 2}; !maps.Equal(p.methods, want) {
		t.Errorf("methods = %v, want %v", p.methods, want)
	}
	if want := map[string]int{"wide.one": 3, "wide.two": 1, "Reconcile": 4}; !maps.Equal(p.functions, want) {
		t.Errorf("functions = %v, want %v", p.functions, want)
	}
}
