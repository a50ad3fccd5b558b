// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package world is what the integration tests share: a control plane for each package, and for each test a world of its own,
// which is a namespace, a zone that is served over HTTP, and the reconcilers. Most tests drive the reconcilers one step at a
// time, with a clock of their own: they need neither sleeps nor polling. The ones about watches, restarts and crashes run the
// whole operator.
package world

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// Cluster is shared by all tests of a package; each has namespaces of its own.
var Cluster *testenv.ControlPlane

// ApplyShipped installs the permissions as they are shipped, once.
func ApplyShipped(t *testing.T) {
	t.Helper()
	must.Succeed(t, applyShipped())
}

var applyShipped = sync.OnceValue(func() error {
	_, err := Cluster.Kubectl(context.Background(), "apply", "-k", "../../../config/rbac")
	return err
})

// Run starts the control plane, runs the tests of a package on it, and gives the exit code.
func Run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // tests look at logs of their own
	var err error
	Cluster, err = testenv.Start(testenv.Options{CRDs: true, ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the control plane:", err)
		return 1
	}
	code := m.Run()
	if err := Cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
		code = max(code, 1)
	}
	if err := testenv.CheckNoPanics(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
