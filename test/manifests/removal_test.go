// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/testenv"
)

const install = `apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {name: confluence, namespace: platform, finalizers: [` + v1alpha1.Finalizer + `]}
spec:
  zone: {id: zn-8f2c, serviceAccountSecretRef: {name: keycard-service-account}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: confluence-oauth-app}
  deletionPolicy: Delete
`

// Everything is removed while an install still has its finalizer, and no operator is there to take it off: the remedy of
// docs/deploy.md lets it go, and with it the CRD.
func TestRemovalInTheWrongOrder(t *testing.T) {
	document, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	const patch = `{"metadata":{"finalizers":null}}`
	remedy := "kubectl -n platform patch keycardresource confluence --type=merge -p '" + patch + "'"
	if !strings.Contains(string(document), remedy) {
		t.Errorf("docs/deploy.md does not show: %s", remedy)
	}
	file := filepath.Join(t.TempDir(), "install.yaml")
	if err := os.WriteFile(file, []byte(install), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := testenv.Start(testenv.Options{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	kubectl("apply", "-k", "../../config/default")
	kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/keycardresources.keycard.cloud")
	kubectl("create", "namespace", "platform")
	kubectl("apply", "-f", file)
	kubectl("delete", "--wait=false", "-k", "../../config/default")
	kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=60s", "-n", "platform", "keycardresource/confluence")
	kubectl("-n", "platform", "patch", "keycardresource", "confluence", "--type=merge", "-p", patch)
	kubectl("wait", "--for=delete", "--timeout=60s", "crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud")
	kubectl("delete", "namespace", "platform", "--timeout=60s")
	left := kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=keycard-operator", "-o", "name")
	if strings.TrimSpace(left) != "" && !strings.Contains(left, "No resources") {
		t.Errorf("left behind: %s", left)
	}
}
