// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	consentpage "github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/target"
)

// Page is what the consent page needs of the cluster. Every replica serves it: which one a browser reaches is not for the
// operator to say.
type Page struct {
	client   client.Client
	targets  *target.Finder
	clock    clock.PassiveClock
	bindings Bindings
	elected  <-chan struct{}

	// returns bounds how often this replica tells of each binding: it has a *rate.Limiter by key.
	returns sync.Map
}

// NewPage makes what the page needs.
func NewPage(d Deps) *Page {
	return &Page{client: d.Client, targets: d.Targets, clock: d.Clock, bindings: d.Bindings, elected: d.Elected}
}

// request finds what a person is asked for by a binding that acts for her. It is consentpage.ErrUnknown when there is no such
// binding, or it may not use its KeycardResource: a stranger learns no more.
func (p *Page) request(ctx context.Context, namespace, name string) (consentpage.Request, error) {
	var b v1alpha1.ConfluenceTokenBinding
	if err := p.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &b); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return consentpage.Request{}, consentpage.ErrUnknown
		}
		return consentpage.Request{}, fmt.Errorf("reading the binding: %w", err)
	}
	if b.Spec.Subject.User == "" {
		return consentpage.Request{}, consentpage.ErrUnknown
	}
	found, err := p.targets.Of(ctx, &b)
	if err != nil {
		return consentpage.Request{}, consentpage.ErrUnknown
	}
	zone, err := p.targets.Zone(ctx, found)
	if err != nil {
		return consentpage.Request{}, err
	}
	metadata, err := zone.Metadata(ctx)
	if err != nil {
		return consentpage.Request{}, err
	}
	return consentpage.NewRequest(&b, found.Install, found.Resource, metadata.AuthorizationEndpoint)
}

// returned is told that a person came back from the zone. A replica that does not work tells the one that does.
func (p *Page) returned(ctx context.Context, namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if p.leads() {
		p.wake(ctx, key)
	} else if err := p.Tell(ctx, key); err != nil {
		log.FromContext(ctx).Error(err, "the binding is tried again at its next turn", "binding", key)
	}
}

// leads reports whether this replica is the one that works.
func (p *Page) leads() bool {
	select {
	case <-p.elected:
		return true
	default:
		return false
	}
}

// wake has a binding tried again at once, and with it all others of the same person that wait for the same consent: a grant is
// the person's, and good for all applications. Consent that is said to be given too often is not believed; it shows in the
// zone's grants too.
func (p *Page) wake(ctx context.Context, key types.NamespacedName) {
	var b v1alpha1.ConfluenceTokenBinding
	if !p.bindings.Returned(key) || p.client.Get(ctx, key, &b) != nil {
		return
	}
	others, err := waiting(ctx, p.client)
	if err != nil {
		log.FromContext(ctx).Error(err, "the person's other bindings are tried again at their next turn", "binding", key)
	}
	for _, w := range others {
		if w.user == b.Spec.Subject.User && w.install == b.ResourceKey() && w.key != key {
			p.bindings.Returned(w.key)
		}
	}
}

const (
	// tellTimeout bounds the write that tells the leader.
	tellTimeout = 10 * time.Second
	// returnBurst is how often in a row the leader is told of one binding, and returnEvery how often beyond that.
	returnBurst, returnEvery = 4, 10 * time.Minute
)

// Tell lets the replica that works know that a person was at the zone for a binding: by taking the link away. Without a link
// there is nothing to tell, and after too many in a row the other finds out by itself.
func (p *Page) Tell(ctx context.Context, key types.NamespacedName) error {
	var have v1alpha1.ConfluenceTokenBinding
	if err := p.client.Get(ctx, key, &have); err != nil {
		return client.IgnoreNotFound(err)
	}
	if have.Status.ConsentURL == "" {
		return nil
	}
	kept, _ := p.returns.LoadOrStore(key, rate.NewLimiter(rate.Every(returnEvery), returnBurst))
	if limiter, ok := kept.(*rate.Limiter); !ok || !limiter.AllowN(p.clock.Now(), 1) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	err := p.client.Status().Patch(ctx, &have, client.RawPatch(types.MergePatchType, []byte(`{"status":{"consentURL":null}}`)))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("telling the leader of a consent: %w", err)
	}
	return nil
}

// told reports whether an update of a binding is what Tell makes: the replica that works takes the link away together with the
// conditions that were the reason for it.
func told(before, now any) (*v1alpha1.ConfluenceTokenBinding, bool) {
	old, ok1 := before.(*v1alpha1.ConfluenceTokenBinding)
	b, ok2 := now.(*v1alpha1.ConfluenceTokenBinding)
	if !ok1 || !ok2 {
		return nil, false
	}
	return b, old.Status.ConsentURL != "" && b.Status.ConsentURL == "" &&
		equality.Semantic.DeepEqual(old.Status.Conditions, b.Status.Conditions)
}
