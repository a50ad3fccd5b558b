// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// CheckNoPanics fails when a reconciler panicked in this process. controller-runtime recovers panics, so
// that a suite could pass over them.
func CheckNoPanics() error {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering metrics: %w", err)
	}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_panics_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 {
				return fmt.Errorf("reconcilers panicked %v times: %v", n, m.GetLabel())
			}
		}
	}
	return nil
}
