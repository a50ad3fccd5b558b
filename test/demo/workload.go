// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/testenv/person"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// workload is the second story: a ServiceAccount that acts for a person once she has consented.
type workload struct {
	person person.Person
	// how she consented, and within what time the binding was Ready.
	how         string
	readyWithin time.Duration
	reader      *reader
}

// digest is the binding of config/samples/workload.yaml.
const digest = "ConfluenceTokenBinding reports/digest"

// clusterID is part of the identifier that workloads have in the zone.
const clusterID = "demo"

// consentPatience is how soon after the consent a binding has to be Ready.
const consentPatience = 30 * time.Second

// workloadOverlay has the install register workloads, and lets this one act for the person. The zone verifies its tokens
// with the cluster's keys, which anybody may read then.
const workloadOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlay, reader.yaml]
patches:
  - target: {kind: KeycardResource, name: confluence}
    patch: |
      - op: add
        path: /spec/workloadRegistration
        value: {}
      - op: add
        path: /spec/policies
        value:
          - name: digest
            cedar: |
              permit (principal is Keycard::Application, action, resource)
              when { context.impersonate && context has subject && context.subject.identifier == "carol@example.com" &&
                principal.identifier == "urn:kubernetes:demo:serviceaccount:reports:digest" };
`

// workloadReader lets the ServiceAccount read the Secret that its pod would mount, and the zone the cluster's keys.
const workloadReader = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: digest, namespace: reports}
rules:
  - {apiGroups: [""], resources: [secrets], resourceNames: [digest-token], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: digest, namespace: reports}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: digest}
subjects: [{kind: ServiceAccount, name: digest, namespace: reports}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: public-issuer-discovery}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:service-account-issuer-discovery"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:unauthenticated"}]
`

// writeWorkload writes an overlay on the one of the samples, whose folder it gives.
func (d *demo) writeWorkload() (string, error) {
	dir := filepath.Join(d.Dir, "workload")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	for name, content := range map[string]string{"kustomization.yaml": workloadOverlay, "reader.yaml": workloadReader} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return dir, nil
}

// carol is whom the workload acts for.
func carol() person.Person {
	users := seed.Default().Users
	i := slices.IndexFunc(users, func(u seed.User) bool { return u.Identifier == "carol@example.com" })
	return person.Person{Email: users[i].Email, Password: users[i].Password}
}

// applyWorkload applies what a platform team and then an app team write for a binding that needs no stored secret, and
// waits until it asks for consent.
func (d *demo) applyWorkload(ctx context.Context) error {
	dir, err := d.writeWorkload()
	if err != nil {
		return err
	}
	d.workload.person = carol()
	d.Say("having the install register workloads, and a policy that lets ServiceAccount digest act for %s: kubectl apply -k", d.workload.person.Email)
	if _, err := d.cluster.Kubectl(ctx, "apply", "-k", dir); err != nil {
		return err
	}
	const sample = "config/samples/workload.yaml"
	d.Say("applying a binding without a stored secret: kubectl apply -f %s", sample)
	if _, err := d.cluster.Kubectl(ctx, "apply", "-f", sample); err != nil {
		return err
	}
	if err := program.Until(ctx, time.Minute, func(context.Context) (bool, error) { return d.shown.link(digest) != "", nil }); err != nil {
		return fmt.Errorf("waiting for the link to consent at: %w", err)
	}
	return nil
}

// consent opens the link as the person, and waits for the binding, which nobody touches.
func (d *demo) consent(ctx context.Context) (err error) {
	browser, stop, err := d.openBrowser(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	w := &d.workload
	d.Say("%s opens the link %s, signs in, allows it, and agrees at Atlassian", w.person.Email, w.how)
	if err := w.person.Consent(browser, d.shown.link(digest)); err != nil {
		return fmt.Errorf("consenting: %w", err)
	}
	consented := time.Now()
	if err := program.Until(ctx, consentPatience, func(context.Context) (bool, error) { return d.shown.ready(digest), nil }); err != nil {
		return fmt.Errorf("waiting for the binding to be Ready after the consent: %w", err)
	}
	const unit = 100 * time.Millisecond // of what seconds shows
	w.readyWithin = time.Since(consented).Truncate(unit) + unit
	d.Say("Ready within %s of the consent; nobody touched the binding", w.readyWithin)
	return nil
}

// openBrowser starts Chromium where there is one that works. Otherwise a plain HTTP client sends the same forms.
func (d *demo) openBrowser(ctx context.Context) (person.Browser, func() error, error) {
	path, err := person.FindChromium()
	if err == nil {
		var window person.Browser
		var stop func() error
		if window, stop, err = startChromium(ctx, path); err == nil {
			d.workload.how = "in Chromium"
			return window, stop, nil
		}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	d.Say("no browser: %v", err)
	d.workload.how = "by a plain HTTP client"
	plain, err := person.NewPlain(ctx)
	return plain, func() error { return nil }, err
}

// startChromium opens a window.
func startChromium(ctx context.Context, path string) (person.Browser, func() error, error) {
	chromium, stop, err := person.StartChromium(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	window, closeWindow, err := chromium.NewTab()
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return window, func() error {
		closeWindow()
		return stop()
	}, nil
}

// readAsWorkload reads pages as the pod of the ServiceAccount would.
func (d *demo) readAsWorkload(ctx context.Context) (err error) {
	if d.workload.reader, err = d.newReader(ctx, "digest", "digest-token"); err != nil {
		return err
	}
	d.Say("ServiceAccount digest, which may read the Secret digest-token and nothing else, reads for her")
	d.workload.reader.read(ctx)
	if r := d.workload.reader; r.requests != 1 || r.failures > 0 {
		return errors.New("the workload could not read a page")
	}
	return nil
}
