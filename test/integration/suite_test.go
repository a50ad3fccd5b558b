// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package integration tests the controllers against a real kube-apiserver and a zone over real HTTP.
// Most tests drive the reconcilers one step at a time with a clock of their own: they need neither sleeps
// nor polling. The ones about watches, restarts and crashes run the whole operator.
package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keycardai/keycard-operator/test/testenv"
)

// cluster is shared by all tests; each has namespaces of its own.
var cluster *testenv.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // tests look at logs of their own
	var err error
	cluster, err = testenv.Start(testenv.Options{CRDs: true, ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the control plane:", err)
		return 1
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
		code = max(code, 1)
	}
	if err := testenv.CheckNoPanics(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
