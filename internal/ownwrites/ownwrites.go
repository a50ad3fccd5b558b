// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ownwrites closes the gap between a write and the moment the cache shows it. A reconciler
// that reads its own previous state from a cache would otherwise exchange a token twice, or write a
// status twice. It holds an object only until the cache has caught up, and works for any set of
// namespaces.
package ownwrites

import (
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Latest remembers what this process wrote last of one object. The zero value is ready for use, by
// one goroutine at a time.
type Latest[T client.Object] struct {
	written    T
	remembered bool
}

// Wrote remembers obj as the server answered it. The caller does not change it afterwards.
func (l *Latest[T]) Wrote(obj T) { l.written, l.remembered = obj, true }

// Newest returns the newer of what the cache has and what was written, and forgets the latter once
// the cache has caught up. An object that was deleted and made again is another one: the cache is
// right.
func (l *Latest[T]) Newest(cached T) T {
	if !l.remembered {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), l.written.GetResourceVersion())
	if err != nil || order >= 0 || cached.GetUID() != l.written.GetUID() {
		l.Forget()
		return cached
	}
	return l.written
}

// Remembers reports whether something was written that the cache has not shown since.
func (l *Latest[T]) Remembers() bool { return l.remembered }

// Forget drops what was written, after the object is gone.
func (l *Latest[T]) Forget() { *l = Latest[T]{} }
