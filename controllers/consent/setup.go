// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	consentpage "github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/ratelimit"
	"github.com/keycardai/keycard-operator/internal/target"
)

// Deps are what this package works with.
type Deps struct {
	// Client reads from the cache and writes; Live reads from the server.
	Client client.Client
	Live   client.Reader
	// Zones hands out clients of zones, and Paused reports whether a zone asked for a pause.
	Zones  *keycard.Pool
	Paused func(zone string) bool
	// Targets finds what bindings exchange for.
	Targets *target.Finder
	Clock   clock.PassiveClock
	// Bindings are woken.
	Bindings Bindings
	// LookEvery is how often it is asked whether it is time to look for grants; 0 means every 5 seconds.
	LookEvery time.Duration
	// Page is where browsers reach the page, nil when there is none, and Address is host:port to listen on for it.
	Page    *url.URL
	Address string
	// Elected is closed when this replica is the leader.
	Elected <-chan struct{}
}

// Setup has the manager look for grants, and serve the page if there is one.
func Setup(ctx context.Context, mgr ctrl.Manager, d Deps) error {
	logger := mgr.GetLogger().WithName("consent")
	ctx = logr.NewContext(ctx, logger)
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.ConfluenceTokenBinding{}, isWaiting, indexWaiting); err != nil {
		return fmt.Errorf("indexing bindings that wait for consent: %w", err)
	}
	watcher := NewWatcher(d)
	if err := mgr.Add(manager.RunnableFunc(func(ending context.Context) error {
		return watcher.Start(logr.NewContext(ending, logger))
	})); err != nil {
		return fmt.Errorf("adding the watcher of grants: %w", err)
	}
	if d.Page == nil {
		return nil
	}
	page := NewPage(d)
	if err := page.listen(ctx, mgr); err != nil {
		return fmt.Errorf("watching what other replicas say: %w", err)
	}
	return mgr.Add(&manager.Server{
		Name: "consent page",
		Server: &http.Server{
			Addr: d.Address, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
			Handler: ratelimit.Handler(pageLimits, clock.RealClock{}, consentpage.Handler(consentpage.Config{
				URL: d.Page, Lookup: page.request, Logger: logger,
				Consented: func(namespace, name string) { page.returned(ctx, namespace, name) },
			})),
		},
	})
}

// pageLimits are for a page that anybody may open: it reads what it shows from the API server and from a zone, with the
// operator's own clients. A person takes three requests, so a thousand are through in five minutes.
var pageLimits = ratelimit.Limits{PerSecond: 10, Burst: 60, UnderWay: 32, Each: 5 * time.Second}

// listen has the leader hear what other replicas tell.
func (p *Page) listen(ctx context.Context, mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.ConfluenceTokenBinding{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, now any) {
			if b, ok := told(before, now); ok && p.leads() {
				p.wake(ctx, client.ObjectKeyFromObject(b))
			}
		},
		DeleteFunc: func(last any) {
			if name, err := toolscache.DeletionHandlingObjectToName(last); err == nil {
				p.returns.Delete(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
			}
		},
	})
	return err
}
