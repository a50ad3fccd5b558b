// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package secretcache knows the Secrets of a cluster without keeping them: of those that bindings own the metadata, of all
// others little more than name and version. It never sees a value. An informer takes over twice the
// memory for each Secret that nobody asks for, even where it is trimmed to the same, and most clusters have thousands.
package secretcache

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"unique"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// leftOut selects what is watched: releases of Helm are the most and the largest Secrets of many clusters, and nobody's
// input.
var leftOut = fields.OneTermNotEqualSelector("type", "helm.sh/release.v1").String()

// Cache follows the Secrets of some namespaces, or of all. It runs in every replica, so that a standby is warm.
type Cache struct {
	log    logr.Logger
	scopes []*scope

	mu        sync.RWMutex
	known     map[types.NamespacedName]known
	listeners []func(types.NamespacedName)
}

// known is what is kept of a Secret.
type known struct {
	uid     types.UID
	version string
	// controller is who controls it, where that is another than a binding; most often nobody does.
	controller *controller
	// more is nil where there is nothing else to know.
	more *metav1.PartialObjectMetadata
}

// controller is enough to name who controls a Secret. Secrets of cert-manager and the like all have one.
type controller struct {
	kind unique.Handle[string]
	name string
}

// New makes a cache of the Secrets in the namespaces; none means all of them. It does nothing before Start.
func New(cfg *rest.Config, httpClient *http.Client, namespaces []string, log logr.Logger) (*Cache, error) {
	client, err := metadata.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("making a client of metadata: %w", err)
	}
	namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := &Cache{log: log, known: map[types.NamespacedName]known{}}
	secrets := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets"))
	for _, n := range namespaces {
		c.scopes = append(c.scopes, &scope{
			cache: c, namespace: n, synced: make(chan struct{}),
			source: toolscache.ToListWatcherWithWatchListSemantics(listWatch(secrets.Namespace(n)), client),
		})
	}
	return c, nil
}

func listWatch(secrets metadata.ResourceInterface) *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = leftOut
			return secrets.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector, o.AllowWatchBookmarks = leftOut, true
			return secrets.Watch(ctx, o)
		},
	}
}

// NeedLeaderElection is false: see Cache.
func (*Cache) NeedLeaderElection() bool { return false }

// Start follows the Secrets until the context ends. What fails is tried again, and logged.
func (c *Cache) Start(ctx context.Context) error {
	var running sync.WaitGroup
	for _, s := range c.scopes {
		reflector := toolscache.NewReflectorWithOptions(s.source, &metav1.PartialObjectMetadata{}, s, toolscache.ReflectorOptions{
			Name: "secrets", TypeDescription: "metadata of Secrets", Logger: &c.log,
		})
		running.Go(func() { reflector.RunWithContext(ctx) })
	}
	if c.WaitForSync(ctx) == nil {
		// Every Secret was decoded whole and kept in part. What that left goes back at once, instead of within minutes.
		debug.FreeOSMemory()
	}
	running.Wait()
	return nil
}

// Ready is a readiness check: a replica that does not know the Secrets can't take over.
func (c *Cache) Ready(*http.Request) error {
	for _, s := range c.scopes {
		select {
		case <-s.synced:
		default:
			return fmt.Errorf("the Secrets of %s are not listed yet", s)
		}
	}
	return nil
}

// WaitForSync returns once all Secrets were listed, or with an error that says what to check when the context ends before.
func (c *Cache) WaitForSync(ctx context.Context) error {
	for _, s := range c.scopes {
		select {
		case <-s.synced:
		case <-ctx.Done():
			return fmt.Errorf("listing the Secrets of %s (check that the operator may list and watch them): %w", s, context.Cause(ctx))
		}
	}
	return nil
}

// Get gives the metadata that is known of a Secret; the caller may change it. Of a Secret that no binding owns, that is UID,
// version, kind and name of its controller, and which refresh tokens the operator wrote.
func (c *Cache) Get(key types.NamespacedName) (*metav1.PartialObjectMetadata, bool) {
	c.mu.RLock()
	k, ok := c.known[key]
	c.mu.RUnlock()
	if !ok {
		return nil, false
	}
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, UID: k.uid, ResourceVersion: k.version,
	}}
	if k.more != nil {
		m = k.more.DeepCopy()
	}
	if k.controller != nil {
		m.OwnerReferences = []metav1.OwnerReference{{Kind: k.controller.kind.Value(), Name: k.controller.name, Controller: new(true)}}
	}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m, true
}

// listen has f called for every Secret that changes from now on, before the next change is looked at.
func (c *Cache) listen(f func(types.NamespacedName)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

// set takes in one version of a Secret.
func (c *Cache) set(m *metav1.PartialObjectMetadata) types.NamespacedName {
	key, now := digest(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[key] = now
	return key
}

func (c *Cache) drop(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, key)
}

// tell calls the listeners for Secrets that changed.
func (c *Cache) tell(keys ...types.NamespacedName) {
	c.mu.RLock()
	listeners := slices.Clone(c.listeners)
	c.mu.RUnlock()
	for _, key := range keys {
		for _, f := range listeners {
			f(key)
		}
	}
}

// digest is what is kept of a Secret.
func digest(m *metav1.PartialObjectMetadata) (types.NamespacedName, known) {
	m = trim(m)
	key := types.NamespacedName{Namespace: unique.Make(m.Namespace).Value(), Name: m.Name}
	k := known{uid: m.UID, version: m.ResourceVersion}
	if owned(m) {
		k.more = m
		return key, k
	}
	if owner := metav1.GetControllerOfNoCopy(m); owner != nil {
		k.controller = &controller{kind: unique.Make(owner.Kind), name: owner.Name}
	}
	if m.OwnerReferences = nil; len(m.ManagedFields) > 0 {
		k.more = m
	}
	return key, k
}

// owned tells whether a binding made the Secret. Its label and its owner may have been taken off.
func owned(m *metav1.PartialObjectMetadata) bool {
	owner := metav1.GetControllerOfNoCopy(m)
	return m.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue ||
		owner != nil && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Kind == "ConfluenceTokenBinding" ||
		slices.ContainsFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == v1alpha1.FieldManager })
}

// trim takes from a Secret that no binding owns what is never asked for.
func trim(m *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	if owned(m) {
		return m
	}
	m.ManagedFields = sessions(m.ManagedFields)
	m.Labels, m.Annotations, m.Finalizers = nil, nil, nil
	return m
}

// sessions are the entries of who renewed a session. Where there is none, nothing keeps the array of the others alive.
func sessions(all []metav1.ManagedFieldsEntry) (some []metav1.ManagedFieldsEntry) {
	for _, e := range all {
		if e.Manager == v1alpha1.SessionFieldManager {
			some = append(some, e)
		}
	}
	return some
}
