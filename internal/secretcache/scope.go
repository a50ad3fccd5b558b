// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
)

// scope is where a reflector puts the Secrets of one namespace, or of all.
type scope struct {
	cache     *Cache
	namespace string
	source    toolscache.ListerWatcher
	// synced is closed with the first list.
	synced chan struct{}
	listed bool
}

var _ toolscache.TransformingStore = (*scope)(nil)

func (s *scope) String() string {
	if s.namespace == metav1.NamespaceAll {
		return "all namespaces"
	}
	return "namespace " + s.namespace
}

// Add takes in a Secret.
func (s *scope) Add(obj any) error { return s.Update(obj) }

// Update takes in another version of a Secret.
func (s *scope) Update(obj any) error {
	m, err := metadataOf(obj)
	if err != nil {
		return err
	}
	s.cache.tell(s.cache.set(m))
	return nil
}

// Delete forgets a Secret.
func (s *scope) Delete(obj any) error {
	m, err := metadataOf(obj)
	if err != nil {
		return err
	}
	key := keyOf(m)
	s.cache.drop(key)
	s.cache.tell(key)
	return nil
}

// Replace takes in the Secrets that there are. The first list is no change of anything; of a later one, after a watch that
// broke, what differs is told.
func (s *scope) Replace(list []any, _ string) error {
	there := make(map[types.NamespacedName]bool, len(list))
	var changed []types.NamespacedName
	for _, obj := range list {
		m, err := metadataOf(obj)
		if err != nil {
			return err
		}
		there[keyOf(m)] = true
		if s.differs(m) {
			changed = append(changed, s.cache.set(m))
		}
	}
	for _, key := range s.gone(there) {
		s.cache.drop(key)
		changed = append(changed, key)
	}
	if s.listed {
		s.cache.tell(changed...)
		return nil
	}
	s.listed = true
	close(s.synced)
	return nil
}

func (s *scope) differs(m *metav1.PartialObjectMetadata) bool {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	k, ok := s.cache.known[keyOf(m)]
	return !ok || k.uid != m.UID || k.version != m.ResourceVersion
}

// gone lists what is known of this scope and is not there any more.
func (s *scope) gone(there map[types.NamespacedName]bool) (keys []types.NamespacedName) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	for key := range s.cache.known {
		if (s.namespace == metav1.NamespaceAll || s.namespace == key.Namespace) && !there[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

func keyOf(m *metav1.PartialObjectMetadata) types.NamespacedName {
	return types.NamespacedName{Namespace: m.Namespace, Name: m.Name}
}

// Resync does nothing: there is nothing to compare with.
func (*scope) Resync() error { return nil }

// Transformer has the reflector trim what it gathers before it hands over a list.
func (*scope) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) {
		m, err := metadataOf(obj)
		if err != nil {
			return nil, err
		}
		return trim(m), nil
	}
}

var errNotMetadata = errors.New("not the metadata of a Secret")

func metadataOf(obj any) (*metav1.PartialObjectMetadata, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNotMetadata, obj)
	}
	return m, nil
}
