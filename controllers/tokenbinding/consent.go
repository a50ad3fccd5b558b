// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// invite says how to consent while that is what is missing: by the link to the consent page in status, or, without one,
// by the command in the messages. Both know only bindings that name their user. It waits until the install has
// registered the application that people sign in to: neither is of use before.
func (r *Reconciler) invite(s *scope, p *problem.Problem) {
	s.binding.Status.ConsentURL = ""
	if p == nil || p.Reason != v1alpha1.ReasonConsentRequired || s.binding.Spec.Subject.User == "" ||
		s.install == nil || s.install.Status.ConsentClientID == "" {
		return
	}
	if r.ConsentURL != nil {
		s.binding.Status.ConsentURL = consent.Link(r.ConsentURL, s.binding.Namespace, s.binding.Name)
		return
	}
	remedy := ": run " + consent.Command(s.binding.Namespace, s.binding.Name)
	c := s.conditions()
	for _, have := range slices.Clone(s.binding.Status.Conditions) {
		if strings.HasSuffix(have.Message, p.Message) {
			c.Set(have.Type, have.Status, have.Reason, have.Message+remedy)
		}
	}
}

// Consent finds what a person is asked for by a binding that acts for her. It is consent.ErrUnknown when there is
// no such binding, or it may not use its KeycardResource: a stranger learns no more.
func (r *Reconciler) Consent(ctx context.Context, namespace, name string) (consent.Request, error) {
	var b v1alpha1.ConfluenceTokenBinding
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &b); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return consent.Request{}, consent.ErrUnknown
		}
		return consent.Request{}, fmt.Errorf("reading the binding: %w", err)
	}
	if b.Spec.Subject.User == "" {
		return consent.Request{}, consent.ErrUnknown
	}
	s := newScope(&b, r.Clock.Now())
	if err := r.ensureResource(ctx, s); err != nil {
		return consent.Request{}, consent.ErrUnknown
	}
	zone, err := r.zone(ctx, s)
	if err != nil {
		return consent.Request{}, err
	}
	metadata, err := zone.Metadata(ctx)
	if err != nil {
		return consent.Request{}, err
	}
	return consent.NewRequest(&b, s.install, s.resource, metadata.AuthorizationEndpoint)
}

// Consented tries a binding again at once, because somebody says to have been at the zone for it, and with it all others of the
// same person that wait for the same consent. Who says so too often is not believed: consent shows in the zone's grants too.
func (r *Reconciler) Consented(ctx context.Context, namespace, name string) {
	now := r.Clock.Now()
	for i, key := range r.consentedWith(ctx, types.NamespacedName{Namespace: namespace, Name: name}) {
		// The binding itself is looked at in any case: its link may have been taken away to tell, and is to be there again.
		if !r.attempts.wake(key, now) && i > 0 {
			continue
		}
		select {
		case r.woken <- event.TypedGenericEvent[*v1alpha1.ConfluenceTokenBinding]{Object: &v1alpha1.ConfluenceTokenBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		}}:
		case <-ctx.Done():
			return
		}
	}
}

// consentedWith is a binding and those that wait for the consent of the same person to the same install: a grant is the
// person's, and good for all applications.
func (r *Reconciler) consentedWith(ctx context.Context, key types.NamespacedName) []types.NamespacedName {
	keys := []types.NamespacedName{key}
	var b v1alpha1.ConfluenceTokenBinding
	if err := r.Client.Get(ctx, key, &b); err != nil {
		return keys
	}
	for _, w := range r.waitingForConsent(ctx) {
		if w.user == b.Spec.Subject.User && w.install == b.ResourceKey() && w.key != key {
			keys = append(keys, w.key)
		}
	}
	return keys
}

// TellConsented lets the replica that works know that somebody says to have been at the zone for a binding: by taking the link
// away. Without a link there is nothing to tell, and after too many in a row the other finds out by itself.
func (r *Reconciler) TellConsented(ctx context.Context, namespace, name string) error {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	var have v1alpha1.ConfluenceTokenBinding
	if err := r.Client.Get(ctx, key, &have); err != nil {
		return client.IgnoreNotFound(err)
	}
	if have.Status.ConsentURL == "" || !r.attempts.returned(key, r.Clock.Now()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := r.Client.Status().Patch(ctx, b, client.RawPatch(types.MergePatchType, []byte(`{"status":{"consentURL":null}}`)))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("telling the leader of a consent: %w", err)
	}
	return nil
}

// ForgetReturns is for a replica that does not work, when a binding is gone: nothing else tells it.
func (r *Reconciler) ForgetReturns(namespace, name string) {
	r.attempts.forgetReturns(types.NamespacedName{Namespace: namespace, Name: name})
}

// ToldConsented tells whether an update of a binding is what TellConsented makes: the replica that works takes the link
// away together with the conditions that were the reason for it.
func ToldConsented(before, now any) (*v1alpha1.ConfluenceTokenBinding, bool) {
	old, ok1 := before.(*v1alpha1.ConfluenceTokenBinding)
	b, ok2 := now.(*v1alpha1.ConfluenceTokenBinding)
	if !ok1 || !ok2 {
		return nil, false
	}
	return b, old.Status.ConsentURL != "" && b.Status.ConsentURL == "" &&
		equality.Semantic.DeepEqual(old.Status.Conditions, b.Status.Conditions)
}
