// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

// The document names the program and what `go version -m` says that it is made of, and is the same each time. The program is
// this test.
func TestDocument(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var document, again bytes.Buffer
	for _, w := range []*bytes.Buffer{&document, &again} {
		if err := write(w, program, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(document.Bytes(), again.Bytes()) {
		t.Error("two documents of one program differ")
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&document, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	const module = "pkg:golang/github.com/keycardai/keycard-operator/test@v1.2.3"
	if main := bom.Metadata.Component; main.PackageURL != module || main.Name != "sbom" {
		t.Errorf("it is about %s, %s", main.Name, main.PackageURL)
	}
	got := make([]string, len(*bom.Components))
	for i, part := range *bom.Components {
		got[i] = part.Name + " " + part.Version
	}
	if want := modules(t, program); !slices.Equal(got, want) {
		t.Errorf("it names\n%v, want\n%v", got, want)
	}
	if needs := *(*bom.Dependencies)[0].Dependencies; len(needs) != len(got) {
		t.Errorf("the program needs %d of %d components", len(needs), len(got))
	}
}

// modules reads the program as the go command does.
func modules(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		switch f := strings.Fields(line); {
		case len(found) == 0:
			found = append(found, "std "+strings.TrimPrefix(f[len(f)-1], "go"))
		case f[0] == "dep":
			found = append(found, f[1]+" "+f[2])
		}
	}
	if len(found) < 2 || !strings.HasPrefix(found[1], "github.com/CycloneDX/cyclonedx-go v") {
		t.Fatalf("go version -m says only %s", out)
	}
	return found
}
