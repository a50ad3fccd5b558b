// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
)

var (
	expiryDesc = prometheus.NewDesc("keycard_token_expiry_timestamp_seconds",
		"When the token in a ConfluenceTokenBinding's Secret expires, in seconds since 1970.", []string{"namespace", "name"}, nil)
	bindingsDesc = prometheus.NewDesc("keycard_bindings",
		"How many ConfluenceTokenBindings there are, by state: Ready, NotReady, Stalled (a person has to act) or Suspended.", []string{"state"}, nil)
	overdueDesc = prometheus.NewDesc("keycard_bindings_overdue",
		"How many tokens should have been refreshed more than a minute ago.", nil, nil)
	installsDesc = prometheus.NewDesc("keycard_installs",
		"How many KeycardResources there are, by state: Ready, NotReady, Stalled (a person has to act) or Suspended.", []string{"state"}, nil)
)

// The states that objects are counted by.
const (
	stateReady     = "Ready"
	stateNotReady  = "NotReady"
	stateStalled   = "Stalled"
	stateSuspended = "Suspended"
)

// scrapeTimeout bounds the reads of one scrape. The cache answers them.
const scrapeTimeout = 5 * time.Second

// collector counts the objects in the cache when it is asked, so that no series outlives its object. Only the leader answers:
// a standby has the cache too, but does not know what the zone was asked, and sums would count twice.
type collector struct {
	elected  <-chan struct{}
	reader   client.Reader
	bindings *tokenbinding.Controller
	clock    clock.PassiveClock
	// perObject is false where there are too many bindings for a series each.
	perObject bool
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{expiryDesc, bindingsDesc, overdueDesc, installsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. While the cache is not there it gives nothing, rather than zeroes.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var bindings v1alpha1.ConfluenceTokenBindingList
	if err := c.reader.List(ctx, &bindings, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	var installs v1alpha1.KeycardResourceList
	if err := c.reader.List(ctx, &installs, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	c.collectBindings(ch, bindings.Items)
	states := newStates()
	for i := range installs.Items {
		states[stateOf(ptr.Deref(installs.Items[i].Spec.Suspend, false), installs.Items[i].Status.Conditions)]++
	}
	states.collect(ch, installsDesc)
}

func (c *collector) collectBindings(ch chan<- prometheus.Metric, bindings []v1alpha1.ConfluenceTokenBinding) {
	states, overdue := newStates(), 0
	for i := range bindings {
		b := &bindings[i]
		suspended := ptr.Deref(b.Spec.Suspend, false)
		states[stateOf(suspended, b.Status.Conditions)]++
		if c.bindings.Overdue(b, c.clock.Now()) {
			overdue++
		}
		if at := b.Status.ExpiresAt; at != nil && c.perObject {
			ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(at.Unix()), b.Namespace, b.Name)
		}
	}
	states.collect(ch, bindingsDesc)
	ch <- prometheus.MustNewConstMetric(overdueDesc, prometheus.GaugeValue, float64(overdue))
}

// registerMetrics makes the metrics of the objects known.
func registerMetrics(o Options, mgr ctrl.Manager, bindings *tokenbinding.Controller, others ...prometheus.Collector) error {
	if o.Metrics == nil {
		o.Metrics = metrics.Registry
	}
	objects := &collector{elected: mgr.Elected(), reader: mgr.GetClient(), bindings: bindings, clock: o.Clock, perObject: o.PerObjectMetrics}
	for _, c := range slices.Concat(bindings.Metrics(), others, []prometheus.Collector{objects}) {
		if err := o.Metrics.Register(c); err != nil {
			return err //nolint:wrapcheck // the caller says what was being done
		}
	}
	return nil
}

// states counts objects by state. Every state is there, so that an alert sees zero and not nothing.
type states map[string]int

func newStates() states {
	return states{stateReady: 0, stateNotReady: 0, stateStalled: 0, stateSuspended: 0}
}

func (s states) collect(ch chan<- prometheus.Metric, desc *prometheus.Desc) {
	for state, n := range s {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), state)
	}
}

func stateOf(suspended bool, conditions []metav1.Condition) string {
	switch {
	case suspended:
		return stateSuspended
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled):
		return stateStalled
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady):
		return stateReady
	}
	return stateNotReady
}
