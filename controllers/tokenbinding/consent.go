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
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// invite says how to consent while that is what is missing: by the link to the consent page in status, or, without one,
// by the command in the messages. It waits until the install has
// registered the application that people sign in to: neither is of use before.
func (r *Reconciler) invite(s *scope, problem *outcome.Problem) {
	s.binding.Status.ConsentURL = ""
	if problem == nil || problem.Reason != v1alpha1.ReasonConsentRequired || s.install == nil || s.install.Status.ConsentClientID == "" {
		return
	}
	if r.ConsentURL != nil {
		s.binding.Status.ConsentURL = consent.Link(r.ConsentURL, s.binding.Namespace, s.binding.Name)
		return
	}
	remedy := ": run " + consent.Command(s.binding.Namespace, s.binding.Name)
	c := s.conditions()
	for _, have := range slices.Clone(s.binding.Status.Conditions) {
		if strings.HasSuffix(have.Message, problem.Message) {
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

// Consented tries a binding again at once, because a person has just been at the zone for it.
func (r *Reconciler) Consented(namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	r.attempts.forget(key)
	r.woken <- event.TypedGenericEvent[*v1alpha1.ConfluenceTokenBinding]{Object: &v1alpha1.ConfluenceTokenBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}}
}

// TellConsented lets the replica that works know that a person has just been at the zone for a binding: by taking the
// link away, which she needs no more.
func (r *Reconciler) TellConsented(ctx context.Context, namespace, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := r.Client.Status().Patch(ctx, b, client.RawPatch(types.MergePatchType, []byte(`{"status":{"consentURL":null}}`)))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("telling the leader of a consent: %w", err)
	}
	return nil
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
