// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// progress shows what changes in the operator's objects.
type progress struct {
	say func(format string, args ...any)

	mu sync.Mutex
	// conditions are those last shown, by object.
	conditions map[string][]metav1.Condition
	// expires is when the token of an object expires.
	expires map[string]*metav1.Time
	// links are where people are asked for consent, by object.
	links map[string]string
}

func newProgress(say func(format string, args ...any)) *progress {
	return &progress{say: say, conditions: map[string][]metav1.Condition{}, expires: map[string]*metav1.Time{}, links: map[string]string{}}
}

// showProgress watches both kinds and prints a line for every change, until the context ends.
func (d *demo) showProgress(ctx context.Context) (*progress, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	watched, err := cache.New(d.cluster.Config, cache.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("watching the samples: %w", err)
	}
	p := newProgress(d.Say)
	for _, kind := range []client.Object{&v1alpha1.KeycardResource{}, &v1alpha1.ConfluenceTokenBinding{}} {
		informer, err := watched.GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("watching the samples: %w", err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    p.observe,
			UpdateFunc: func(_, object any) { p.observe(object) },
		}); err != nil {
			return nil, fmt.Errorf("watching the samples: %w", err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- watched.Start(ctx) }()
	// What watches is gone before what is watched.
	d.Later(func() error { return <-ended })
	if !watched.WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("watching the samples: %w", context.Cause(ctx))
	}
	return p, nil
}

// observe shows what is new in an object.
func (p *progress) observe(object any) {
	switch o := object.(type) {
	case *v1alpha1.KeycardResource:
		p.show("KeycardResource "+o.Namespace+"/"+o.Name, o.Status.Conditions)
	case *v1alpha1.ConfluenceTokenBinding:
		name := "ConfluenceTokenBinding " + o.Namespace + "/" + o.Name
		p.show(name, o.Status.Conditions)
		p.showLink(name, o.Status.ConsentURL)
		p.showToken(name, &o.Status)
	}
}

// show prints a line for each condition that turned, came or went. Conditions that are not True say why.
func (p *progress) show(name string, conditions []metav1.Condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.conditions[name]
	p.conditions[name] = conditions
	for _, c := range conditions {
		old := meta.FindStatusCondition(before, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		why := ""
		if c.Status == metav1.ConditionFalse {
			why = ": " + c.Message
		}
		p.say("%-39s  %s=%s %s%s", name, c.Type, c.Status, c.Reason, why)
	}
	for _, old := range before {
		if meta.FindStatusCondition(conditions, old.Type) == nil {
			p.say("%-39s  %s is gone", name, old.Type)
		}
	}
}

// showLink prints where a person is asked for consent.
func (p *progress) showLink(name, link string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if link != "" && link != p.links[name] {
		p.say("%-39s  consentURL: %s", name, link)
	}
	p.links[name] = link
}

// link is where a person is asked for consent; empty when nobody is.
func (p *progress) link(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links[name]
}

// showToken prints a line for each token after the first.
func (p *progress) showToken(name string, status *v1alpha1.ConfluenceTokenBindingStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.expires[name]
	p.expires[name] = status.ExpiresAt
	if before == nil || status.ExpiresAt == nil || status.RefreshAt == nil || before.Equal(status.ExpiresAt) {
		return
	}
	p.say("%-39s  a new token, until %s; the next at %s", name,
		status.ExpiresAt.Local().Format(time.TimeOnly), status.RefreshAt.Local().Format(time.TimeOnly))
}

// ready tells whether all of the objects are.
func (p *progress) ready(names ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if !meta.IsStatusConditionTrue(p.conditions[name], v1alpha1.ConditionReady) {
			return false
		}
	}
	return true
}
