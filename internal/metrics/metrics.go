// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what happens at the zones.
package metrics

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// mostZones is with how many zones there are series before those of all are begun anew: whoever may edit an install names zones.
const mostZones = 1000

// Zones count what happens at the zones. No series is about one binding.
type Zones struct {
	mu    sync.Mutex
	zones map[string]bool

	exchanges *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	unchanged *prometheus.CounterVec
	rescued   prometheus.Counter
}

// New returns metrics that are not registered yet.
func New() *Zones {
	zone := []string{"zone"}
	return &Zones{
		zones: map[string]bool{},
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keycard_exchanges_total",
			Help: "How often a zone was asked for a token, by outcome: Issued, the reason why not, or Failed where the cluster failed.",
		}, []string{"zone", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keycard_exchange_duration_seconds", Help: "How long a zone took to answer, what belongs to an exchange included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40},
		}, zone),
		unchanged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keycard_exchanges_unchanged_total", Help: "How often a zone handed out a token that lives no longer than the present one.",
		}, zone),
		rescued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keycard_overdue_requeues_total",
			Help: "How often a ConfluenceTokenBinding was reconciled because it had not been woken in time.",
		}),
	}
}

// Collectors returns all of them, and those of the gates.
func (m *Zones) Collectors(gates *throttle.Gates) []prometheus.Collector {
	return []prometheus.Collector{m.exchanges, m.duration, m.unchanged, m.rescued, gateCollector{gates}}
}

// outcomeIssued and outcomeFailed are the outcomes that are no reason of a condition: the latter of what went wrong within the cluster.
const outcomeIssued, outcomeFailed = "Issued", "Failed"

// Rescued counts a binding that was not woken in time.
func (m *Zones) Rescued() { m.rescued.Inc() }

// Unchanged counts a token that lives no longer than the present one.
func (m *Zones) Unchanged(zone string) { m.unchanged.WithLabelValues(zone).Inc() }

// Exchanged counts one answer of a zone, which took so long. err is nil for a token.
func (m *Zones) Exchanged(zone string, took time.Duration, err error) {
	result := outcomeIssued
	if err != nil {
		result = outcomeFailed
		if p, ok := problem.FromKeycard(err); ok {
			result = p.Reason
		} else if p, ok := errors.AsType[*problem.Problem](err); ok {
			result = p.Reason
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.zones[zone] && len(m.zones) == mostZones {
		clear(m.zones)
		m.exchanges.Reset()
		m.duration.Reset()
		m.unchanged.Reset()
	}
	m.zones[zone] = true
	m.exchanges.WithLabelValues(zone, result).Inc()
	m.duration.WithLabelValues(zone).Observe(took.Seconds())
}

var (
	inFlightDesc = prometheus.NewDesc("keycard_exchanges_in_flight", "How many exchanges are under way at a zone.", []string{"zone"}, nil)
	waitingDesc  = prometheus.NewDesc("keycard_exchanges_waiting", "How many bindings wait for their turn at a zone.", []string{"zone"}, nil)
	pausedDesc   = prometheus.NewDesc("keycard_zone_throttled_seconds_total",
		"How many seconds of pause a zone has asked for, by 429 or 503.", []string{"zone"}, nil)
)

// gateCollector reads the gates when it is asked.
type gateCollector struct{ gates *throttle.Gates }

// Describe implements prometheus.Collector.
func (gateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- inFlightDesc
	ch <- waitingDesc
	ch <- pausedDesc
}

// Collect implements prometheus.Collector.
func (c gateCollector) Collect(ch chan<- prometheus.Metric) {
	for _, z := range c.gates.Zones() {
		ch <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(z.UnderWay), z.Zone)
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(z.Waiting), z.Zone)
		ch <- prometheus.MustNewConstMetric(pausedDesc, prometheus.CounterValue, z.Paused.Seconds(), z.Zone)
	}
}
