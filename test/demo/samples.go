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

	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// shortLifetime is the life below which the operator warns.
const shortLifetime = 2 * refresh.MountPropagation

// credential is what a Secret of the samples holds.
type credential struct{ namespace, name, clientID, clientSecret string }

// credentials are those of devzone's default seed: public, and good for nothing else.
func credentials() []credential {
	s := seed.Default()
	account, app, application := s.ServiceAccounts[0], s.Atlassian.Apps[0], s.Applications[0].Credentials[0]
	return []credential{
		{"platform", "keycard-service-account", account.ClientID, account.ClientSecret},
		{"platform", "confluence-oauth-app", app.ClientID, app.ClientSecret},
		{"reports", "reports-keycard-app", application.Identifier, application.Password},
	}
}

// overlay points the samples at this machine's zone. A team does the same for each of its environments.
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

const generated = `  - name: %q
    namespace: %q
    literals: [%q, %q]
`

// consumer may read the one Secret that a pod would mount.
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

// writeOverlay writes a copy of config/samples, as they are shipped, and an overlay on it, whose folder it
// gives.
func (d *demo) writeOverlay() (string, error) {
	if err := os.CopyFS(filepath.Join(d.Dir, "samples"), os.DirFS("config/samples")); err != nil {
		return "", fmt.Errorf("copying the samples: %w", err)
	}
	dir := filepath.Join(d.Dir, "overlay")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	text := new(strings.Builder)
	fmt.Fprintf(text, overlay, d.zone.id, d.zone.issuer, d.zone.api)
	for _, c := range credentials() {
		fmt.Fprintf(text, generated, c.name, c.namespace, "client_id="+c.clientID, "client_secret="+c.clientSecret)
	}
	for name, content := range map[string]string{"kustomization.yaml": text.String(), "consumer.yaml": consumer} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return dir, nil
}

// applySamples applies the samples and shows their conditions turn until both objects are Ready.
func (d *demo) applySamples(ctx context.Context) error {
	dir, err := d.writeOverlay()
	if err != nil {
		return err
	}
	if d.shown, err = d.showProgress(ctx); err != nil {
		return err
	}
	d.Say("applying config/samples, with the zone's address and three Secrets: kubectl apply -k")
	applied := time.Now()
	if _, err := d.cluster.Kubectl(ctx, "apply", "-k", dir); err != nil {
		return err
	}
	if err := program.Until(ctx, time.Minute, func(context.Context) (bool, error) {
		return d.shown.ready("KeycardResource platform/confluence", "ConfluenceTokenBinding reports/reports"), nil
	}); err != nil {
		return fmt.Errorf("waiting for the samples to be Ready: %w", err)
	}
	d.readyAfter = time.Since(applied)
	const kinds = "keycardresources,confluencetokenbindings"
	out, err := d.cluster.Kubectl(ctx, "get", kinds, "-A")
	d.Print("\n$ kubectl get %s -A\n%s\n", kinds, out)
	if d.tokenLifetime < shortLifetime {
		d.Say("LifetimeTooShort is right here: the kubelet needs up to two minutes to update a mounted file, so pods want longer lives")
	}
	return err
}
