// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/devzone/localtls"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/recipes"
)

// examples runs the examples of docs/tokens.md on the folder that is mounted into the pod. How they follow a
// rotation is for test/docs, where it can be timed.
func (w *world) examples(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "docs", "tokens.md"))
	must.Succeed(t, err)
	snippets, err := recipes.Snippets(string(raw))
	must.Succeed(t, err)
	authority := filepath.Join(w.tlsDir(), localtls.CAFile)
	folder := w.node.Volume(w.podUID(t, "reports"), "confluence-token")
	for _, e := range recipes.Examples {
		t.Run(e.Name, func(t *testing.T) {
			dir := t.TempDir()
			must.Succeed(t, e.Write(root, dir, snippets[e.Snippet]))
			cmd := exec.CommandContext(t.Context(), e.Command[0], e.Command[1:]...) // #nosec G204 -- of the list
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "TOKEN_DIR="+folder, "NO_PROXY=*", "no_proxy=*", "GOFLAGS=", "GOWORK=off",
				// What the stand-in's certificate is from, as curl, requests, Python and Go, and Node want it.
				"CURL_CA_BUNDLE="+authority, "REQUESTS_CA_BUNDLE="+authority, "SSL_CERT_FILE="+authority, "NODE_EXTRA_CA_CERTS="+authority)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Engineering home") {
				t.Errorf("it printed %q: %v", out, err)
			}
		})
	}
}
