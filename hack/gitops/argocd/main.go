// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command argocd runs Argo CD's application controller and repository server in one process, for tests: it listens on loopback
// only, which Argo CD's own command can't, and keeps in memory what Argo CD keeps in Redis. The cluster is the one of KUBECONFIG.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/controller"
	"github.com/argoproj/argo-cd/v3/controller/sharding"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/pkg/client/clientset/versioned"
	"github.com/argoproj/argo-cd/v3/reposerver"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	repocache "github.com/argoproj/argo-cd/v3/reposerver/cache"
	"github.com/argoproj/argo-cd/v3/reposerver/metrics"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/argo-cd/v3/util/cache"
	"github.com/argoproj/argo-cd/v3/util/cache/appstate"
	"github.com/argoproj/argo-cd/v3/util/git"
	"github.com/argoproj/argo-cd/v3/util/kube"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/argo-cd/v3/util/tls"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	namespace = "argocd"
	// resync is how often Git is looked at. Argo CD's default is two minutes, which is long for a test.
	resync = 3 * time.Second
	keep   = time.Hour
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "argocd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	address, err := serveRepositories(ctx)
	if err != nil {
		return err
	}
	c, err := newController(ctx, address)
	if err != nil {
		return err
	}
	c.GetMetricsServer().Addr = "127.0.0.1:0"
	go c.Run(ctx, 20, 10, 1)
	<-ctx.Done()
	return nil
}

// serveRepositories starts the server that reads Git and runs kustomize.
func serveRepositories(ctx context.Context) (address string, err error) {
	results := repocache.NewCache(memory(), keep, time.Second, 10*time.Second)
	server, err := reposerver.NewServer(metrics.NewMetricsServer(), results, nil, repository.RepoServerInitConstants{
		MaxCombinedDirectoryManifestsSize: resource.MustParse("10M"), EnableBuiltinGitConfig: true,
	}, git.NoopCredsStore{}, "", true)
	if err != nil {
		return "", fmt.Errorf("making the repository server: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening: %w", err)
	}
	go func() { _ = server.CreateGRPC().Serve(listener) }()
	return listener.Addr().String(), nil
}

func memory() *cache.Cache { return cache.NewCache(cache.NewInMemoryCache(keep)) }

// newController makes the application controller, as its own command does by default.
func newController(ctx context.Context, repositories string) (*controller.ApplicationController, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	if err := v1alpha1.SetK8SConfigDefaults(config); err != nil {
		return nil, fmt.Errorf("preparing the client: %w", err)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	applications, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	var c *controller.ApplicationController
	manager := settings.NewSettingsManager(ctx, clients, namespace, settings.WithRepoOrClusterChangedHandler(func() { c.InvalidateProjectsCache() }))
	shards, err := sharding.GetClusterSharding(clients, manager, common.DefaultShardingAlgorithm, false)
	if err != nil {
		return nil, fmt.Errorf("choosing clusters: %w", err)
	}
	backoff := &wait.Backoff{Duration: 2 * time.Second, Factor: 3, Cap: 300 * time.Second}
	c, err = controller.NewApplicationController(namespace, manager, clients, applications,
		apiclient.NewRepoServerClientset(repositories, 60, tls.Configuration{DisableTLS: true}), nil,
		appstate.NewCache(memory(), keep), kube.NewKubectl(), resync, 0, 0, 0, backoff, 0, 0, 0, 0, nil, nil, nil, 20, false,
		shards, nil, nil, false, false, normalizers.IgnoreNormalizerOpts{}, argo.DefaultEnableEventList(), false)
	if err != nil {
		return nil, fmt.Errorf("making the application controller: %w", err)
	}
	return c, nil
}
