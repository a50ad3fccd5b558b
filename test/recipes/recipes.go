// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package recipes reads the examples of docs/tokens.md, so that tests run them as they are shown.
package recipes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Example is how a snippet of docs/tokens.md is run.
type Example struct {
	Name, Snippet, File string
	Command             []string
	// StaysHome is set when it does not follow redirects.
	StaysHome bool
}

// Examples are all of them.
var Examples = []Example{
	{"curl in bash", "curl", "pages.sh", []string{"bash", "pages.sh"}, true},
	{"curl in sh", "curl", "pages.sh", []string{"sh", "pages.sh"}, true},
	{"python", "python", "pages.py", []string{"python3", "pages.py"}, false},
	{"python with requests", "requests", "session.py", []string{"python3", "session.py"}, false},
	{"go", "go", "main.go", []string{"go", "run", "."}, false},
	{"go with oauth2", "oauth", "main.go", []string{"go", "run", "."}, true},
	{"node", "node", "pages.mjs", []string{"node", "pages.mjs"}, false},
}

// Write writes a snippet into a folder, where it can be run. One in Go gets the project's own modules.
func (e Example) Write(project, folder, snippet string) error {
	errs := []error{os.WriteFile(filepath.Join(folder, e.File), []byte(snippet), 0o600)}
	if e.Command[0] == "go" {
		for _, name := range []string{"go.mod", "go.sum"} {
			raw, err := os.ReadFile(filepath.Join(project, name))                           // #nosec G304 -- of the project
			errs = append(errs, err, os.WriteFile(filepath.Join(folder, name), raw, 0o600)) // #nosec G703 -- a test's own folder
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("writing the example %s: %w", e.Name, err)
	}
	return nil
}

var fence = regexp.MustCompile("(?s)\n(?:<!-- run: ([a-z]+) -->\n)?```([a-z]+)\n(.*?\n)```\n")

// Snippets gives the snippets of a document that are marked to be run, by their marks. Each one that is a
// program has to be marked, and each example has to be there.
func Snippets(document string) (map[string]string, error) {
	out := map[string]string{}
	for _, part := range fence.FindAllStringSubmatch(document, -1) {
		name, language, text := part[1], part[2], part[3]
		switch {
		case name != "":
			out[name] = text
		case language != "yaml" && language != "sh":
			return nil, fmt.Errorf("a snippet in %s is not run:\n%s", language, text)
		}
	}
	known := map[string]bool{}
	for _, e := range Examples {
		known[e.Snippet] = true
		if out[e.Snippet] == "" {
			return nil, fmt.Errorf("there is no snippet %s", e.Snippet)
		}
	}
	for name := range out {
		if !known[name] {
			return nil, fmt.Errorf("nothing runs the snippet %s", name)
		}
	}
	return out, nil
}
