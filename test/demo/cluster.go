// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// startCluster starts Kubernetes, and installs the kinds and the operator's permissions as they are shipped.
func (d *demo) startCluster(ctx context.Context) error {
	d.Say("starting etcd, kube-apiserver and kube-controller-manager")
	cluster, err := testenv.Start(testenv.Options{ControllerManager: true, Log: d.Dir})
	if err != nil {
		return err
	}
	d.cluster = cluster
	d.Later(cluster.Stop)
	d.Say("applying the kinds and the operator's permissions: kubectl apply -k config/crd, config/rbac")
	return program.ApplyShipped(ctx, d.cluster)
}
