// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// startOperator starts the operator as its own ServiceAccount, with the shipped permissions and no others.
func (d *demo) startOperator(ctx context.Context) error {
	consent, err := program.FreeAddress(ctx)
	if err != nil {
		return err
	}
	d.consentURL = "http://" + consent
	d.Say("starting the operator as ServiceAccount keycard-system/keycard-operator")
	o, err := program.StartOperator(ctx, d.cluster, filepath.Join(binaries, "operator"), d.LogPath("operator"), d.zone.atlassian, "--verbosity", "1",
		"--cluster-id", clusterID, "--consent-address", consent, "--consent-url", d.consentURL)
	if err != nil {
		return err
	}
	d.Watch(o.Program)
	d.metricsURL, d.operatorToken = o.MetricsURL, o.Token
	return o.AwaitReady(ctx)
}
