// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/internal/fence"
	"github.com/keycardai/keycard-operator/internal/retryafter"
)

// reconcileTimeout bounds one reconcile: several remote requests, each with its own timeout.
const reconcileTimeout = 2 * time.Minute

func run(ctx context.Context, o *options) error {
	cfg, err := restConfig(o)
	if err != nil {
		return err
	}
	// One who was the leader and is not any more neither writes nor asks a zone, whatever its workers are about.
	leading := fence.New(o.leaseDuration, clock.RealClock{})
	cfg.Wrap(leading.Cluster)
	mgr, err := newManager(cfg, o)
	if err != nil {
		return err
	}
	err = controllers.Setup(ctx, mgr, controllers.Options{
		Concurrency:           o.concurrency,
		Cluster:               controllers.Cluster{ID: o.clusterID, Namespace: o.clusterIDNamespace},
		Namespaces:            o.watchNamespaces,
		LiveNamespaces:        len(o.watchNamespaces) > 0,
		UserAgent:             "keycard-operator/" + version,
		RequestTimeout:        o.requestTimeout,
		CheckEvery:            o.checkEvery,
		PerObjectMetrics:      o.perObjectMetrics,
		AllowInsecureLoopback: o.allowInsecureLoopback,
		WrapZones:             leading.Zone,
		AtlassianURL:          o.atlassianURL,
		Consent:               o.consent,
	})
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(ctx, mgr)); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	ctrl.Log.Info("starting", "version", version)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

func restConfig(o *options) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster (set --kubeconfig, or run in a pod): %w", err)
	}
	// One limiter for all kinds: by QPS and Burst alone, the client of each kind would have limits of its own.
	cfg.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(o.clientQPS, o.clientBurst)
	cfg.UserAgent = "keycard-operator/" + version
	return cfg, nil
}

func newManager(cfg *rest.Config, o *options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	// The Lease has a client of its own: exhausted client-side limits must not cost the leadership.
	leaseConfig := rest.CopyConfig(cfg)
	leaseConfig.QPS, leaseConfig.Burst, leaseConfig.RateLimiter = 5, 10, nil
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(retryafter.Transport)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "operator.keycard.cloud",
		LeaderElectionNamespace:       o.leaderElectNamespace,
		LeaderElectionConfig:          leaseConfig,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaseDuration,
		RenewDeadline:                 &o.renewDeadline,
		RetryPeriod:                   &o.retryPeriod,
		GracefulShutdownTimeout:       &o.shutdownTimeout,
		Cache:                         controllers.CacheOptions(o.watchNamespaces),
		Controller: config.Controller{
			ReconciliationTimeout: reconcileTimeout,
			// A standby keeps its caches warm, so that a failover starts at once.
			EnableWarmup: new(true),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("setting up: %w", err)
	}
	return mgr, nil
}

// cachesSynced is ready once the caches are: a replica that is not can't take over.
func cachesSynced(ctx context.Context, mgr ctrl.Manager) healthz.Checker {
	synced := make(chan struct{})
	go func() {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			close(synced)
		}
	}()
	return func(*http.Request) error {
		select {
		case <-synced:
			return nil
		default:
			return fmt.Errorf("caches are not synced yet")
		}
	}
}
