// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
)

// warm is a cache that has nothing in it.
type warm struct{ client.Reader }

func (warm) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// A standby, whose cache is warm, gives no figures of the objects: sums over replicas would count them twice.
func TestOnlyTheLeaderCountsObjects(t *testing.T) {
	g := NewWithT(t)
	elected := make(chan struct{})
	registry := prometheus.NewRegistry()
	g.Expect(registry.Register(&collector{elected: elected, reader: warm{}, bindings: &tokenbinding.Controller{}, clock: clock.RealClock{}})).To(Succeed())
	g.Expect(registry.Gather()).To(BeEmpty())
	close(elected)
	g.Expect(registry.Gather()).To(HaveLen(3))
}
