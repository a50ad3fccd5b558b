// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// The credentials of devzone's default seed: public, and good for nothing else.
var credentials = map[string][2]string{
	"platform/keycard-service-account": {"operator", "dev-only-operator-secret"},
	"platform/confluence-oauth-app":    {"atlassian-app", "dev-only-atlassian-secret"},
	"reports/reports-keycard-app":      {"reports", "dev-only-reports-password"},
}

// overlay points the samples at this machine's zone, and lets the consumer read its one Secret.
const overlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../samples, consumer.yaml]
generatorOptions: {disableNameSuffixHash: true}
patches:
  - target: {kind: KeycardResource, name: confluence}
    patch: |
      - {op: replace, path: /spec/zone/id, value: %q}
      - {op: add, path: /spec/zone/issuer, value: %q}
      - {op: add, path: /spec/zone/apiURL, value: %q}
secretGenerator:
`

const generated = `  - name: %s
    namespace: %s
    literals: [client_id=%s, client_secret=%s]
`

const consumer = `apiVersion: v1
kind: ServiceAccount
metadata: {name: consumer, namespace: reports}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: consumer, namespace: reports}
rules:
  - {apiGroups: [""], resources: [secrets], resourceNames: [confluence-token], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: consumer, namespace: reports}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: consumer}
subjects: [{kind: ServiceAccount, name: consumer, namespace: reports}]
`

// applySamples applies config/samples as they are shipped, patched for this machine's zone, and shows the
// conditions turn until both objects are Ready.
func (d *demo) applySamples(ctx context.Context) error {
	dir := filepath.Join(d.dir, "overlay")
	if err := os.CopyFS(filepath.Join(d.dir, "samples"), os.DirFS("config/samples")); err != nil {
		return fmt.Errorf("copying the samples: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, overlay, d.zone.id, d.zone.issuer, d.zone.api)
	for key, pair := range credentials {
		namespace, name := filepath.Split(key)
		fmt.Fprintf(&text, generated, name, filepath.Clean(namespace), pair[0], pair[1])
	}
	for name, content := range map[string]string{"kustomization.yaml": text.String(), "consumer.yaml": consumer} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	d.say("applying config/samples, with the zone's address and three Secrets: kubectl apply -k")
	if _, err := d.cluster.Kubectl(ctx, "apply", "-k", dir); err != nil {
		return err
	}
	if err := d.showProgress(ctx); err != nil {
		return err
	}
	out, err := d.cluster.Kubectl(ctx, "get", "keycardresources,confluencetokenbindings", "-A")
	fmt.Fprintf(d.out, "\n$ kubectl get keycardresources,confluencetokenbindings -A\n%s\n", out)
	return err
}

// showProgress prints conditions as they turn, until both objects are Ready.
func (d *demo) showProgress(ctx context.Context) error {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	c, err := client.New(d.cluster.Config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	seen := progress{}
	err = until(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		var resource v1alpha1.KeycardResource
		var binding v1alpha1.ConfluenceTokenBinding
		if err := c.Get(ctx, client.ObjectKey{Namespace: "platform", Name: "confluence"}, &resource); err != nil {
			return false, err
		}
		if err := c.Get(ctx, client.ObjectKey{Namespace: "reports", Name: "reports"}, &binding); err != nil {
			return false, err
		}
		seen.show(d, "KeycardResource platform/confluence", resource.Status.Conditions)
		seen.show(d, "ConfluenceTokenBinding reports/reports", binding.Status.Conditions)
		return meta.IsStatusConditionTrue(resource.Status.Conditions, v1alpha1.ConditionReady) &&
			meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionReady), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the samples to be Ready: %w", err)
	}
	return nil
}
