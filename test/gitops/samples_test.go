// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// yamlBlock is a manifest in a document.
var yamlBlock = regexp.MustCompile("(?s)\n```yaml\n(.*?\n)```\n")

// Everything that config/argocd, config/flux and docs/gitops.md show can be applied: the API server knows each field, with the
// kinds that Argo CD and Flux publish.
func TestSamplesCanBeApplied(t *testing.T) {
	t.Parallel()
	crds := append(argoKinds(t), fluxKinds(t)...)
	cluster, err := testenv.Start(testenv.Options{CRDs: true})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, cluster.Stop()) })
	kinds(t, cluster, crds...)
	for _, namespace := range []string{"argocd", fluxNamespace, "platform", "reports"} {
		_, err := cluster.Kubectl(t.Context(), "create", "namespace", namespace)
		must.Succeed(t, err)
	}
	for _, file := range manifestFiles(t) {
		applyStrictly(t, cluster, "-f", file)
	}
	applyStrictly(t, cluster, "-k", argocd+"waves")
}

// The document names the versions that the tests run.
func TestDocumentNamesTheVersions(t *testing.T) {
	document := read(t, root+"docs/gitops.md")
	for path, name := range map[string]string{
		"github.com/argoproj/argo-cd/v3": "Argo CD", "github.com/fluxcd/kustomize-controller": "kustomize-controller",
	} {
		version, err := assets.Version(root, "hack/gitops", path)
		must.Succeed(t, err)
		if !strings.Contains(document, name+" "+version) {
			t.Errorf("docs/gitops.md does not say %s %s", name, version)
		}
	}
}

// applyStrictly applies manifests. A field that the server does not know is an error, and it has nothing to warn of.
func applyStrictly(t *testing.T, cluster *testenv.ControlPlane, args ...string) {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), append([]string{"apply", "--server-side", "--force-conflicts", "--validate=strict"}, args...)...)
	if err != nil || strings.Contains(out, "Warning") {
		t.Errorf("applying %v: %s%v", args, out, err)
	}
}

// manifestFiles are the samples that are no parts of a kustomization, and the manifests of the document.
func manifestFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, folder := range []string{argocd, root + "config/flux"} {
		must.Succeed(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".yaml" && !partOfKustomization(path) {
				files = append(files, path)
			}
			return err
		}))
	}
	blocks := yamlBlock.FindAllStringSubmatch(read(t, root+"docs/gitops.md"), -1)
	if len(files) < 6 || len(blocks) < 2 {
		t.Fatalf("there are %d samples and %d manifests in the document", len(files), len(blocks))
	}
	for i, block := range blocks {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
		must.Succeed(t, os.WriteFile(file, []byte(block[1]), 0o600))
		files = append(files, file)
	}
	return files
}

// partOfKustomization tells kustomizations, and what they are made of, from what is applied by itself.
func partOfKustomization(path string) bool {
	folder, name := filepath.Split(path)
	return name == "kustomization.yaml" || filepath.Base(folder) == "waves" && name != "application.yaml"
}
