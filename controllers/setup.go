// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers wires the operator's controllers into a manager.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/controllers/rollout"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/internal/site"
	"github.com/keycardai/keycard-operator/internal/target"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// recorderName names the operator in events.
const recorderName = "keycard-operator"

// Options are what the controllers need to know besides the manager.
type Options struct {
	// Concurrency is how many objects of a kind are reconciled at once.
	Concurrency int
	// Cluster tells this cluster's objects in a zone from those of another cluster.
	Cluster Cluster
	// Namespaces are those whose Secrets are followed, as in CacheOptions; empty means all.
	Namespaces []string
	// LiveNamespaces is for an operator that may not watch namespaces, because it has permissions in some only: it
	// reads them when it needs their labels.
	LiveNamespaces bool
	// UserAgent is sent to zones.
	UserAgent string
	// RequestTimeout bounds one request to a zone or to Atlassian.
	RequestTimeout time.Duration
	// AllowInsecureLoopback admits http URLs of zones on a loopback address.
	AllowInsecureLoopback bool
	// WrapZones stands before every request to a zone or to Atlassian; nil means that nothing does.
	WrapZones func(http.RoundTripper) http.RoundTripper
	// AtlassianURL is Atlassian's API gateway.
	AtlassianURL string
	// CheckEvery is how often each install is compared with its zone; 0 means 10 minutes.
	CheckEvery time.Duration
	// Metrics takes the metrics of the objects; nil means the manager's.
	Metrics prometheus.Registerer
	// PerObjectMetrics gives each binding a series with the expiry of its token.
	PerObjectMetrics bool
	// Clock is the clock on the wall; nil means the system's.
	Clock clock.WithTickerAndDelayedExecution
	// WatchEvery is how often it is looked for bindings that were not woken in time, and asked whether it is time to look for
	// consent; 0 means every 30 seconds and every 5.
	WatchEvery time.Duration
	// Consent says how people consent; by default nothing is done about it.
	Consent consent.Options
}

// Cluster says how a cluster is named in a zone.
type Cluster struct {
	// ID is the name; empty means the UID of Namespace.
	ID string
	// Namespace is read when ID is empty; empty means kube-system.
	Namespace string
}

// Setup adds all controllers to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	entries, err := catalog.Load()
	if err != nil {
		return fmt.Errorf("loading the catalog: %w", err)
	}
	if o, err = o.withDefaults(ctx, mgr.GetAPIReader()); err != nil {
		return err
	}
	zones := keycard.NewPool(keycard.Options{
		Now: o.Clock.Now, UserAgent: o.UserAgent, Timeout: o.RequestTimeout, AllowInsecureLoopback: o.AllowInsecureLoopback,
		Wrap: o.WrapZones,
	})
	issuer, err := newClusterIssuer(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	page, redirectURIs, err := o.Consent.URLs()
	if err != nil {
		return err
	}
	secrets, err := followSecrets(mgr, o.Namespaces)
	if err != nil {
		return err
	}
	recorder := mgr.GetEventRecorder(recorderName)
	if err := index.Register(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	resources := keycardresource.New(keycardresource.Deps{
		Client: mgr.GetClient(), Secrets: secrets, Live: mgr.GetAPIReader(), Zones: zones, Catalog: entries,
		ClusterID: o.Cluster.ID, Recorder: recorder, Clock: o.Clock,
		CheckEvery: o.CheckEvery, ClusterIssuer: issuer.Discover,
		ConsentRedirectURIs: redirectURIs, LiveNamespaces: o.LiveNamespaces,
	})
	if err := resources.SetupWithManager(ctx, mgr, o.Concurrency); err != nil {
		return fmt.Errorf("setting up the controller of KeycardResources: %w", err)
	}
	most := o.Concurrency - o.Concurrency/5 // the rest of the workers serve other zones
	gates := throttle.New(most, o.Clock)
	targets := target.NewFinder(mgr.GetClient(), mgr.GetAPIReader(), zones, entries, o.LiveNamespaces)
	bindings := tokenbinding.New(tokenbinding.Deps{
		Client: secrets.Before(mgr.GetClient()), Live: mgr.GetAPIReader(), LiveNamespaces: o.LiveNamespaces,
		Zones: zones, Targets: targets, Sites: site.New(atlassian.NewClient(zones, o.AtlassianURL), o.Clock),
		Recorder: recorder, Clock: o.Clock, Gates: gates, LookUps: throttle.New(most, o.Clock), ConsentURL: page,
	})
	rollouts := rollout.New(mgr.GetClient(), recorder, o.Clock, o.LiveNamespaces)
	if err := registerMetrics(o, mgr, bindings, rollouts.Metrics()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := consent.Setup(ctx, mgr, consent.Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Zones: zones, Paused: gates.Paused, Targets: targets, Clock: o.Clock,
		Bindings: bindings, LookEvery: o.WatchEvery, Elected: mgr.Elected(),
		Page: page, Address: o.Consent.Address,
	}); err != nil {
		return fmt.Errorf("setting up what waits for consent: %w", err)
	}
	if err := bindings.SetupWithManager(mgr, secrets, o.Concurrency, o.WatchEvery); err != nil {
		return fmt.Errorf("setting up the controller of ConfluenceTokenBindings: %w", err)
	}
	if err := rollouts.SetupWithManager(mgr, o.Concurrency); err != nil {
		return fmt.Errorf("setting up the controller that restarts workloads: %w", err)
	}
	return nil
}

// followSecrets has the manager run a cache of Secrets, and be ready when it is.
func followSecrets(mgr ctrl.Manager, namespaces []string) (*secretcache.Cache, error) {
	secrets, err := secretcache.New(mgr.GetConfig(), mgr.GetHTTPClient(), namespaces, mgr.GetLogger().WithName("secrets"))
	if err != nil {
		return nil, fmt.Errorf("setting up the cache of Secrets: %w", err)
	}
	if err := mgr.Add(secrets); err != nil {
		return nil, fmt.Errorf("adding the cache of Secrets: %w", err)
	}
	if err := mgr.AddReadyzCheck("secrets", secrets.Ready); err != nil {
		return nil, fmt.Errorf("adding the readiness check of Secrets: %w", err)
	}
	return secrets, nil
}

// defaultCheckEvery is how often an install is compared with its zone.
const defaultCheckEvery = 10 * time.Minute

// withDefaults fills in what was left out.
func (o Options) withDefaults(ctx context.Context, live client.Reader) (_ Options, err error) {
	if o.Cluster.ID == "" {
		o.Cluster.ID, err = clusterID(ctx, live, cmp.Or(o.Cluster.Namespace, metav1.NamespaceSystem))
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	o.CheckEvery = cmp.Or(o.CheckEvery, defaultCheckEvery)
	return o, err
}

// clusterID is the UID of a namespace. By that of kube-system clusters are commonly known.
func clusterID(ctx context.Context, live client.Reader, namespace string) (string, error) {
	var ns corev1.Namespace
	if err := live.Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		return "", fmt.Errorf("reading the UID of namespace %s (where that is not allowed, set --cluster-id, or "+
			"--cluster-id-namespace to a namespace that may be read): %w", namespace, err)
	}
	return string(ns.UID), nil
}

// CacheOptions are the manager's cache options; Secrets have a cache of their own. Reads of what nothing watches fail instead
// of starting a watch of every such object in the cluster.
func CacheOptions(namespaces []string) cache.Options {
	o := cache.Options{
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            slim,
	}
	for _, n := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[n] = cache.Config{}
	}
	return o
}

// slim drops from cached metadata what is never read: of a namespace the labels are, which decide who may use an install, and
// a ConfigMap or a ServiceAccount only matters when it changes.
func slim(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	m.ManagedFields, m.Annotations, m.Finalizers, m.OwnerReferences = nil, nil, nil, nil
	if m.Kind != "Namespace" {
		m.Labels = nil
	}
	return m, nil
}
