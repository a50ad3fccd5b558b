// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// gathered are the metrics of the operator's objects, as "name{label values} value".
func (o *operator) gathered() (lines []string) {
	o.w.t.Helper()
	families, err := o.metrics.Gather()
	must(o.w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %.0f", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	return lines
}

// Metrics say when each token expires and how the objects are, and no series outlives its object.
func TestMetrics(t *testing.T) {
	w := newWorld(t, realTime)
	resource, binding, waits := w.install(), w.binding("reports"), w.binding("waits")
	waits.Spec.Subject.User = "bob@example.com" // who has not consented
	for _, o := range []client.Object{resource, binding, waits} {
		must(t, w.k8s.Create(w.ctx, o))
	}
	o := w.startOperator()
	w.untilReady(resource)
	w.untilReady(binding)
	see := func(wanted ...string) {
		t.Helper()
		w.eventually(fmt.Sprintf("the metrics say %q", wanted), func(context.Context) (bool, error) {
			got := o.gathered()
			return !slices.ContainsFunc(wanted, func(s string) bool { return !slices.Contains(got, s) }), nil
		})
	}
	see("keycard_installs{Ready} 1", "keycard_bindings{Ready} 1", "keycard_bindings{Stalled} 1", "keycard_bindings{NotReady} 0",
		"keycard_bindings_overdue{} 0", fmt.Sprintf("keycard_token_expiry_timestamp_seconds{reports,%s} %d", w.ns, binding.Status.ExpiresAt.Unix()))

	zone := w.zone.Issuer
	see(fmt.Sprintf("keycard_exchanges_total{Issued,%s} 1", zone), fmt.Sprintf("keycard_exchanges_total{ConsentRequired,%s} 1", zone),
		fmt.Sprintf("keycard_exchanges_in_flight{%s} 0", zone), fmt.Sprintf("keycard_exchanges_waiting{%s} 0", zone),
		fmt.Sprintf("keycard_zone_throttled_seconds_total{%s} 0", zone))

	yes := true
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(waits), waits))
	waits.Spec.Suspend = &yes
	must(t, w.k8s.Update(w.ctx, waits))
	must(t, w.k8s.Delete(w.ctx, binding))
	see("keycard_bindings{Ready} 0", "keycard_bindings{Suspended} 1")
	for _, line := range o.gathered() {
		if strings.HasPrefix(line, "keycard_token_expiry") {
			t.Errorf("a series outlives its object: %s", line)
		}
	}
}
