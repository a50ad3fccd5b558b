// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// The table of all operations with their parameters and fields, to be read beside the reference of
// the hosted API. UPDATE=1 writes it.
func TestOperations(t *testing.T) {
	g := NewWithT(t)
	s := newServer(Config{Store: store.New(time.Now)})
	var lines []string
	g.Expect(s.Store.View(func(tx *store.Tx) error {
		for _, op := range s.operations {
			method, path, _ := strings.Cut(op.pattern, " ")
			line := path + " " + method
			for _, name := range slices.Compact(slices.Sorted(slices.Values(op.params))) {
				line += "\n\t?" + name
			}
			if op.fields != nil {
				for _, name := range op.fields(&call{server: s, tx: tx}).names() {
					line += "\n\t" + name
				}
			}
			lines = append(lines, line+"\n")
		}
		return nil
	})).To(Succeed())
	slices.Sort(lines)
	const file = "testdata/operations.txt"
	got := strings.Join(lines, "")
	if os.Getenv("UPDATE") != "" {
		g.Expect(os.WriteFile(file, []byte(got), 0o600)).To(Succeed())
	}
	want, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got).To(Equal(string(want)), fmt.Sprintf("%s is another table: UPDATE=1 writes it", file))
}
