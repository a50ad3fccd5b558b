// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docs keeps documents and files in step.
package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// The YAML in the README is that of config/samples, to the letter.
func TestReadmeShowsTheSamples(t *testing.T) {
	readme := read(t, "README.md")
	for _, name := range []string{"keycardresource.yaml", "confluencetokenbinding.yaml", "pod.yaml"} {
		sample := read(t, filepath.Join("config", "samples", name))
		if !strings.Contains(readme, "```yaml\n"+sample+"```\n") {
			t.Errorf("README.md does not show config/samples/%s as it is", name)
		}
		if !strings.Contains(readme, "config/samples/"+name) {
			t.Errorf("README.md does not link to config/samples/%s", name)
		}
	}
}

// Links of the documents lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	documents := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d documents, %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			documents = append(documents, strings.TrimPrefix(path, root+"/"))
		}
	}
	for _, document := range documents {
		text := read(t, document)
		for _, part := range strings.Split(text, "](")[1:] {
			target, _, _ := strings.Cut(part, ")")
			target, _, _ = strings.Cut(target, "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(document), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", document, target)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
