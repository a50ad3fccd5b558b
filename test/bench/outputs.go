// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// outputs follows the Secrets that the operator writes, by their metadata.
type outputs struct {
	mu sync.Mutex
	// expires is when the token in a Secret expires, by the Secret's name, and issued when it was issued.
	expires map[string]time.Time
	issued  map[string]string
	// tokens counts the tokens that a Secret had since the last reset.
	tokens map[string]int
	// first is when the first Secret that was there came, and last when the last did.
	first, last time.Time
	// expired is how long tokens were in their Secrets after they had expired.
	expired time.Duration
}

// watchOutputs follows the Secrets until the context ends.
func (b *bench) watchOutputs(ctx context.Context) (*outputs, error) {
	c, err := metadata.NewForConfig(b.cluster.Config)
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	o := &outputs{expires: map[string]time.Time{}, issued: map[string]string{}}
	o.reset()
	factory := metadatainformer.NewFilteredSharedInformerFactory(c, 0, namespace, func(l *metav1.ListOptions) {
		l.LabelSelector = labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}.String()
	})
	informer := factory.ForResource(corev1.SchemeGroupVersion.WithResource("secrets")).Informer()
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    o.observe,
		UpdateFunc: func(_, object any) { o.observe(object) },
	}); err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	factory.Start(ctx.Done())
	// What watches is gone before what is watched.
	b.Later(func() error { factory.Shutdown(); return nil })
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, fmt.Errorf("watching Secrets: %w", context.Cause(ctx))
	}
	return o, nil
}

// observe notes a token that is new.
func (o *outputs) observe(object any) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	// One token is told from another by both times: of one issued within the same second, nothing would be new to a reader.
	issued := m.Annotations[v1alpha1.IssuedAtAnnotation] + m.Annotations[v1alpha1.ExpiresAtAnnotation]
	if issued == "" || issued == o.issued[m.Name] {
		return
	}
	expires, err := time.Parse(time.RFC3339, m.Annotations[v1alpha1.ExpiresAtAnnotation])
	if err != nil {
		return // which is never counted as a token
	}
	if before, ok := o.expires[m.Name]; ok {
		o.expired += max(0, now.Sub(before))
	}
	o.issued[m.Name], o.expires[m.Name] = issued, expires
	o.tokens[m.Name]++
	if o.first.IsZero() {
		o.first = now
	}
	o.last = now
}

// reset begins to count anew.
func (o *outputs) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens, o.expired, o.first, o.last = map[string]int{}, 0, time.Time{}, time.Time{}
}

// tally gives how many tokens there were since the reset, how many Secrets had at least so many, and when the last came.
func (o *outputs) tally(atLeast int) (tokens, secrets int, last time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.tokens {
		tokens += n
		if n >= atLeast {
			secrets++
		}
	}
	return tokens, secrets, o.last
}

// expiredSoFar is how long tokens were in their Secrets after they had expired, those that still are included.
func (o *outputs) expiredSoFar() time.Duration {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	total := o.expired
	for _, expires := range o.expires {
		total += max(0, now.Sub(expires))
	}
	return total
}

// awaitTokens waits until each Secret had so many tokens since the reset, and gives when the last came.
func (b *bench) awaitTokens(ctx context.Context, each int, patience time.Duration) (time.Time, error) {
	var last time.Time
	said := time.Now()
	err := program.Until(ctx, patience, func(context.Context) (bool, error) {
		var tokens, secrets int
		if tokens, secrets, last = b.outputs.tally(each); time.Since(said) > 10*time.Second {
			said = time.Now()
			b.Say("%d tokens; %d of %d Secrets have theirs", tokens, secrets, b.bindings)
		}
		return secrets >= b.bindings, nil
	})
	if err != nil {
		return last, fmt.Errorf("waiting for tokens in all Secrets: %w", err)
	}
	return last, nil
}
