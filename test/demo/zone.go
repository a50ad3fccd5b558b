// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// zone is where devzone listens.
type zone struct{ id, issuer, api, atlassian string }

// startZone starts devzone on ports that the system chooses, and reads them from what it prints.
func (d *demo) startZone(ctx context.Context) error {
	const systemPort = "127.0.0.1:0"
	d.Say("starting devzone, whose tokens live %s", d.tokenLifetime)
	// It reads the keys of the cluster's ServiceAccounts from the cluster.
	ca := filepath.Join(d.Dir, "cluster-ca.pem")
	if err := os.WriteFile(ca, d.cluster.Config.CAData, 0o600); err != nil {
		return fmt.Errorf("writing the cluster's CA: %w", err)
	}
	err := d.startProgram("devzone", "serve", "--verbose", "--upstream-tokens", "refresh", "--token-lifetime", d.tokenLifetime.String(), "--upstream-ca", ca,
		"--zone-address", systemPort, "--api-address", systemPort, "--atlassian-address", systemPort, "--admin-address", systemPort)
	if err != nil {
		return err
	}
	err = program.Until(ctx, 20*time.Second, func(context.Context) (found bool, err error) {
		printed, err := os.ReadFile(d.LogPath("devzone"))
		if err != nil {
			return false, fmt.Errorf("reading what devzone prints: %w", err)
		}
		d.zone, found = readZone(string(printed))
		return found, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for devzone to say where it listens: %w", err)
	}
	d.Say("zone %s at %s", d.zone.id, d.zone.issuer)
	return nil
}

// The lines that devzone prints once it listens. Half a line does not match.
var (
	zoneLine      = regexp.MustCompile(`(?m)^zone +\S+ +zone_id=(\S+) issuer=(\S+)\n`)
	apiLine       = regexp.MustCompile(`(?m)^api +(\S+)\n`)
	atlassianLine = regexp.MustCompile(`(?m)^atlassian +(\S+)\n`)
)

// readZone reads them; not before all are there.
func readZone(printed string) (zone, bool) {
	z, api, atlassian := zoneLine.FindStringSubmatch(printed), apiLine.FindStringSubmatch(printed), atlassianLine.FindStringSubmatch(printed)
	if z == nil || api == nil || atlassian == nil {
		return zone{}, false
	}
	return zone{id: z[1], issuer: z[2], api: api[1], atlassian: atlassian[1]}, true
}
