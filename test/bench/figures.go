// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
)

// figures are the results, in order.
type figures struct {
	rows   [][2]string
	breaks []error
}

// add adds a result.
func (f *figures) add(name, format string, args ...any) {
	f.rows = append(f.rows, [2]string{name, fmt.Sprintf(format, args...)})
}

// demand notes a broken invariant.
func (f *figures) demand(ok bool, format string, args ...any) {
	if !ok {
		f.breaks = append(f.breaks, fmt.Errorf(format, args...))
	}
}

// broken names all broken invariants; nil when there is none.
func (f *figures) broken() error { return errors.Join(f.breaks...) }

// writeTo writes the results as a table in Markdown.
func (f *figures) writeTo(out io.Writer) {
	fmt.Fprint(out, "\n| what | figure |\n| --- | --- |\n")
	for _, row := range f.rows {
		fmt.Fprintf(out, "| %s | %s |\n", row[0], row[1])
	}
	fmt.Fprintln(out)
}
