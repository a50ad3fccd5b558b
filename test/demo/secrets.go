// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// searchForSecrets looks for credentials and tokens where none may be: in the logs of all programs, in the
// operator's objects and events, and in its metrics.
func (d *demo) searchForSecrets(ctx context.Context) error {
	places, err := d.places(ctx)
	if err != nil {
		return err
	}
	secrets := map[string]string{"the operator's own token": d.operatorToken}
	for _, c := range credentials() {
		secrets["the client_secret of "+c.name] = c.clientSecret
	}
	secrets["the password of "+d.workload.person.Email] = d.workload.person.Password
	for i, token := range slices.Concat(d.reader.tokens, d.workload.reader.tokens) {
		secrets[fmt.Sprintf("token %d", i+1)] = token
	}
	found, err := search(places, secrets)
	if err != nil {
		return err
	}
	d.Say("%d secrets in %s; looked for %d", len(found), strings.Join(slices.Sorted(maps.Keys(places)), ", "), len(secrets))
	if len(found) > 0 {
		return errors.New(strings.Join(found, "; "))
	}
	return nil
}

// places gives what is searched, by what it is.
func (d *demo) places(ctx context.Context) (map[string]string, error) {
	logs, err := filepath.Glob(filepath.Join(d.Dir, "*.log"))
	if err != nil {
		return nil, fmt.Errorf("finding the logs: %w", err)
	}
	places := map[string]string{}
	for _, path := range logs {
		raw, err := os.ReadFile(path) // #nosec G304 -- the demo's own folder
		if err != nil {
			return nil, fmt.Errorf("reading a log: %w", err)
		}
		places[filepath.Base(path)] = string(raw)
	}
	if places["objects and events"], err = d.cluster.Kubectl(ctx, "get", "keycardresources,confluencetokenbindings,events", "-A", "-o", "yaml"); err != nil {
		return nil, err
	}
	if places["metrics"], err = program.Get(ctx, d.metricsURL); err != nil {
		return nil, err
	}
	return places, nil
}

// search names the secrets that are found, and where. A place or a secret without text would be found clean
// for nothing.
func search(places, secrets map[string]string) ([]string, error) {
	var found []string
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if strings.TrimSpace(places[place]) == "" {
			return nil, fmt.Errorf("searching for secrets: %s is empty", place)
		}
		for _, secret := range slices.Sorted(maps.Keys(secrets)) {
			if secrets[secret] == "" {
				return nil, fmt.Errorf("searching for secrets: %s is empty", secret)
			}
			if strings.Contains(places[place], secrets[secret]) {
				found = append(found, fmt.Sprintf("%s is in %s", secret, place))
			}
		}
	}
	return found, nil
}
