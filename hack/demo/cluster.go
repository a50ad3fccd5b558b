// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/keycardai/keycard-operator/internal/testenv"
)

// startCluster starts Kubernetes, and installs the kinds and the operator's permissions as they are shipped.
func (d *demo) startCluster(ctx context.Context) error {
	d.say("starting etcd, kube-apiserver and kube-controller-manager")
	cluster, err := testenv.Start(testenv.Options{ControllerManager: true, Log: d.dir})
	if err != nil {
		return err
	}
	d.cluster = cluster
	d.stops = append(d.stops, cluster.Stop)
	d.say("applying the kinds and the operator's permissions: kubectl apply -k config/crd, config/rbac")
	for _, folder := range []string{"config/crd", "config/rbac"} {
		if _, err := d.cluster.Kubectl(ctx, "apply", "-k", folder); err != nil {
			return err
		}
	}
	return d.waitForKinds(ctx)
}

// waitForKinds waits until the kinds can be used. kubectl wait fails on a CRD that has no conditions at all yet, so it is
// asked again.
func (d *demo) waitForKinds(ctx context.Context) error {
	var last error
	err := until(ctx, 30*time.Second, func(ctx context.Context) (bool, error) {
		_, last = d.cluster.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s",
			"crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud")
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the kinds: %w", cmp.Or(last, err))
	}
	return nil
}
