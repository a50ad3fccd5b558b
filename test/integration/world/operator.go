// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/must"
)

// Gathered are the metrics of the operator's objects, as "name{label values} value".
func (o *Operator) Gathered() (lines []string) {
	o.w.T.Helper()
	families, err := o.metrics.Gather()
	must.Succeed(o.w.T, err)
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

// Patience is how long the whole operator may take for anything in these tests.
const Patience = 60 * time.Second

// Operator is the whole operator in this process, with caches and watches.
type Operator struct {
	w    *World
	Stop func()
	// Writes counts what it wrote to the cluster.
	Writes *Recorder
	// metrics are those of its objects.
	metrics *prometheus.Registry
}

// StartOperator runs the controllers for the world's namespace. The zone's clock has to be the operator's: the real one,
// unless change says otherwise.
func (w *World) StartOperator(change ...func(*controllers.Options)) *Operator {
	w.T.Helper()
	o := &Operator{w: w, Writes: &Recorder{}, metrics: prometheus.NewRegistry()}
	cfg := rest.CopyConfig(cmp.Or(w.Account, Cluster.Config))
	cfg.Wrap(o.Writes.Transport)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: Scheme(w.T), Logger: w.Logger(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:      controllers.CacheOptions([]string{w.NS}),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	must.Succeed(w.T, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Ctx))
	options := controllers.Options{
		Concurrency: 10, Namespaces: []string{w.NS}, Cluster: controllers.Cluster{ID: ClusterID}, UserAgent: "test", RequestTimeout: 10 * time.Second,
		AllowInsecureLoopback: true, AtlassianURL: w.Zone.AtlassianURL,
		Metrics: o.metrics, PerObjectMetrics: true,
	}
	for _, c := range change {
		c(&options)
	}
	must.Succeed(w.T, controllers.Setup(ctx, mgr, options))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.Stop = sync.OnceFunc(func() {
		cancel()
		must.Succeed(w.T, <-done)
	})
	w.T.Cleanup(o.Stop)
	return o
}

// RealTime makes the zone go by the real clock, which the whole operator does.
func RealTime(c *devzone.Config) { c.Clock = time.Now }

// Eventually polls until check is true.
func (w *World) Eventually(what string, check func(ctx context.Context) (bool, error)) {
	w.T.Helper()
	if err := wait.PollUntilContextTimeout(w.Ctx, 20*time.Millisecond, Patience, true, check); err != nil {
		w.T.Fatalf("waiting until %s: %v", what, err)
	}
}

// UntilReady waits for an object to be Ready, and leaves it as it is then.
func (w *World) UntilReady(o client.Object) {
	w.T.Helper()
	key := client.ObjectKeyFromObject(o)
	w.Eventually(fmt.Sprintf("%T %s is Ready", o, key), func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, key, o)
		return err == nil && meta.IsStatusConditionTrue(ConditionsOf(o), v1alpha1.ConditionReady), err
	})
}

// Reconciles is how often the whole operator reconciled a binding of this world.
func (w *World) Reconciles() int64 { return w.reconciles.Load() }
