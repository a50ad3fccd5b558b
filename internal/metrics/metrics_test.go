// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
)

// However many zones installs name in the course of time, there are series of so many at most, and of the present ones.
func TestSeriesOfZonesAreBounded(t *testing.T) {
	g := NewWithT(t)
	m, registry := New(), prometheus.NewRegistry()
	registry.MustRegister(m.exchanges, m.duration)
	for i := range 3*mostZones + 7 {
		m.Exchanged(fmt.Sprint("https://z", i), time.Second, nil)
	}
	families, err := registry.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(families).To(HaveLen(2))
	for _, f := range families {
		g.Expect(f.GetMetric()).To(HaveLen(7), f.GetName())
	}
}
