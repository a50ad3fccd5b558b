// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// Metrics say when each token expires and how the objects are, and no series outlives its object.
func TestMetrics(t *testing.T) {
	w := world.New(t, world.RealTime)
	resource, binding, waits := w.Install(), w.Binding("reports"), w.Binding("waits")
	waits.Spec.Subject.User = "bob@example.com" // who has not consented
	for _, o := range []client.Object{resource, binding, waits} {
		must.Succeed(t, w.K8s.Create(w.Ctx, o))
	}
	o := w.StartOperator()
	w.UntilReady(resource)
	w.UntilReady(binding)
	see := func(wanted ...string) {
		t.Helper()
		w.Eventually(fmt.Sprintf("the metrics say %q", wanted), func(context.Context) (bool, error) {
			got := o.Gathered()
			return !slices.ContainsFunc(wanted, func(s string) bool { return !slices.Contains(got, s) }), nil
		})
	}
	see("keycard_installs{Ready} 1", "keycard_bindings{Ready} 1", "keycard_bindings{Stalled} 1", "keycard_bindings{NotReady} 0",
		"keycard_bindings_overdue{} 0", fmt.Sprintf("keycard_token_expiry_timestamp_seconds{reports,%s} %d", w.NS, binding.Status.ExpiresAt.Unix()))

	zone := w.Zone.Issuer
	see(fmt.Sprintf("keycard_exchanges_total{Issued,%s} 1", zone), fmt.Sprintf("keycard_exchanges_total{ConsentRequired,%s} 1", zone),
		fmt.Sprintf("keycard_exchanges_in_flight{%s} 0", zone), fmt.Sprintf("keycard_exchanges_waiting{%s} 0", zone),
		fmt.Sprintf("keycard_zone_throttled_seconds_total{%s} 0", zone))

	yes := true
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(waits), waits))
	waits.Spec.Suspend = &yes
	must.Succeed(t, w.K8s.Update(w.Ctx, waits))
	must.Succeed(t, w.K8s.Delete(w.Ctx, binding))
	see("keycard_bindings{Ready} 0", "keycard_bindings{Suspended} 1")
	for _, line := range o.Gathered() {
		if strings.HasPrefix(line, "keycard_token_expiry") {
			t.Errorf("a series outlives its object: %s", line)
		}
	}
}
