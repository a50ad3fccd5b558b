// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// ensureResource finds the KeycardResource and checks that this namespace may use it, that it is
// registered in the zone, and that it offers the scopes.
func (r *Reconciler) ensureResource(ctx context.Context, s *scope) error {
	key := s.binding.ResourceKey()
	var resource v1alpha1.KeycardResource
	err := r.Client.Get(ctx, key, &resource)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading KeycardResource %s: %w", key, err)
	}
	admitted := err == nil
	if admitted {
		if admitted, err = namespaces.Admits(ctx, r.namespaces(), &resource, s.binding.Namespace); err != nil {
			return err
		}
	}
	if !admitted {
		return r.notAdmitted(key, s.binding.Namespace)
	}
	s.inputs = fmt.Sprintf("%s/%d/%s", resource.UID, resource.Generation, resource.Status.ResourceID)
	s.progress = progressOf(&resource)
	entry, known := r.Catalog[resource.Spec.CatalogEntry]
	// Once registered is enough: a later mistake in its spec, or an outage, does not stop the bindings.
	if !known || resource.Status.ResourceID == "" {
		return problem.Waiting(v1alpha1.ReasonResourceNotReady,
			"KeycardResource %s is not registered in its zone yet; see its conditions", key)
	}
	if !resource.DeletionTimestamp.IsZero() {
		return problem.Waiting(v1alpha1.ReasonResourceNotReady, "KeycardResource %s is being deleted", key)
	}
	scopes, err := requestedScopes(s.binding, &resource)
	if err != nil {
		return err
	}
	s.install = &resource
	s.issuer, s.resource, s.scopes = resource.Spec.Zone.IssuerURL(), entry.Resource.Identifier, scopes
	s.want = s.want.Of(s.issuer, s.resource, s.scopes)
	return nil
}

// progress is how far an install has come with what its spec says of access, for this generation: 2 for all, 1 for what
// goes without a person, 0 while it is not known. It tells when a remedy is in the zone: an edit of the spec wakes the
// bindings before the install's own controller is done with it.
type progress struct{ policies, applications int }

func progressOf(install *v1alpha1.KeycardResource) progress {
	spec := &install.Spec
	of := func(conditionType string, wanted bool) int {
		c := meta.FindStatusCondition(install.Status.Conditions, conditionType)
		switch {
		case c == nil && !wanted && install.Status.ObservedGeneration == install.Generation:
			return 2
		case c == nil || c.ObservedGeneration != install.Generation || c.Status == metav1.ConditionUnknown:
			return 0
		case c.Status == metav1.ConditionTrue:
			return 2
		}
		return 1
	}
	return progress{
		policies:     of(v1alpha1.ConditionPoliciesApplied, len(spec.Policies) > 0),
		applications: of(v1alpha1.ConditionApplicationsRegistered, len(spec.Applications) > 0 || spec.WorkloadRegistration != nil),
	}
}

// beyond tells whether something was done since.
func (p progress) beyond(before progress) bool {
	return p.policies > before.policies || p.applications > before.applications
}

// namespaces reads namespaces: from the cache where they are watched.
func (r *Reconciler) namespaces() client.Reader {
	if r.LiveNamespaces {
		return r.Live
	}
	return r.Client
}

// notAdmitted says the same of a resource that does not exist and of one that does not admit the namespace. Where
// namespaces are not watched, no watch reports a label that admits it, so it is tried again.
func (r *Reconciler) notAdmitted(resource client.ObjectKey, namespace string) *problem.Problem {
	say := problem.Waiting
	if r.LiveNamespaces {
		say = problem.Passing
	}
	return say(v1alpha1.ReasonResourceNotFound,
		"KeycardResource %s does not exist or does not admit namespace %s; check spec.resourceRef, and allowedNamespaces of the KeycardResource",
		resource, namespace)
}

// requestedScopes is what the binding asks for, or all that the resource offers; sorted.
func requestedScopes(b *v1alpha1.ConfluenceTokenBinding, resource *v1alpha1.KeycardResource) ([]string, error) {
	offered := v1alpha1.ScopeNames(resource.Status.Scopes)
	wanted := v1alpha1.ScopeNames(b.Spec.Scopes)
	if len(wanted) == 0 {
		wanted = offered
	}
	var missing []string
	for _, scope := range wanted {
		if !slices.Contains(offered, scope) {
			missing = append(missing, scope)
		}
	}
	if len(missing) > 0 {
		return nil, problem.Blocked(v1alpha1.ReasonScopeNotOffered,
			"KeycardResource %s does not offer %s; it offers %s. Change spec.scopes here, or spec.scopes of the KeycardResource",
			resource.Name, strings.Join(missing, ", "), strings.Join(offered, ", "))
	}
	slices.Sort(wanted)
	return wanted, nil
}

// zone is the client of the zone's authorization server.
func (r *Reconciler) zone(ctx context.Context, s *scope) (*keycard.ZoneClient, error) {
	pool, err := zones.Pool(ctx, r.Live, r.Zones, s.install.Namespace, s.install.Spec.Zone.CABundle)
	if err != nil {
		return nil, err
	}
	return pool.Zone(s.issuer)
}
