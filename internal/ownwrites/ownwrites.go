// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ownwrites closes the gap between a write and the moment the cache shows it. A reconciler that
// reads its own previous state from a cache would otherwise exchange a token twice, or write a status
// twice. It holds an object only until the cache has caught up, and works for any set of namespaces.
package ownwrites

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Objects remembers what this process wrote last, by the name of the object that is reconciled: its own, or
// the one it is written for. The zero value is ready for use.
type Objects[T client.Object] struct {
	mu      sync.Mutex
	written map[types.NamespacedName]T
}

// Wrote remembers obj as the server answered it. The caller does not change it afterwards.
func (o *Objects[T]) Wrote(key types.NamespacedName, obj T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.written == nil {
		o.written = map[types.NamespacedName]T{}
	}
	o.written[key] = obj
}

// Newest gives the newer of what the cache has and what was written, and forgets the latter once the
// cache has caught up. An object that was deleted and made again is another one: the cache is right.
func (o *Objects[T]) Newest(key types.NamespacedName, cached T) T {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.written[key]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), w.GetResourceVersion())
	if err != nil || order >= 0 || cached.GetUID() != w.GetUID() {
		delete(o.written, key)
		return cached
	}
	return w
}

// Remembers tells whether something was written that the cache has not shown since.
func (o *Objects[T]) Remembers(key types.NamespacedName) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.written[key]
	return ok
}

// Forget drops what was written, after the object is gone.
func (o *Objects[T]) Forget(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.written, key)
}
