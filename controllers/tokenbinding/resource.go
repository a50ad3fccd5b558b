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
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// target is what a binding exchanges for: a resource at the authorization server of a zone, with scopes.
type target struct {
	install          *v1alpha1.KeycardResource
	issuer, resource string
	scopes           []string
	progress         refresh.Progress
}

// readInstall finds the KeycardResource and checks that this namespace may use it.
func (c *Controller) readInstall(ctx context.Context, s *scope) error {
	target, err := c.targetOf(ctx, s.binding)
	if err == nil {
		s.target, s.want = target, s.want.Of(target.issuer, target.resource, target.scopes)
	}
	return err
}

// targetOf returns what a binding exchanges for. The KeycardResource has to admit its namespace, to be registered in the zone, and
// to offer the scopes. The error is a *problem.Problem, or one of the cluster.
func (c *Controller) targetOf(ctx context.Context, b *v1alpha1.ConfluenceTokenBinding) (target, error) {
	key := b.ResourceKey()
	var install v1alpha1.KeycardResource
	err := c.Client.Get(ctx, key, &install)
	if err != nil && !apierrors.IsNotFound(err) {
		return target{}, fmt.Errorf("reading KeycardResource %s: %w", key, err)
	}
	admitted := err == nil
	if admitted {
		if admitted, err = namespaces.Admits(ctx, c.namespaces, &install, b.Namespace); err != nil {
			return target{}, err
		}
	}
	if !admitted {
		return target{}, c.notAdmitted(key, b.Namespace)
	}
	entry, known := c.Catalog[install.Spec.CatalogEntry]
	// Once registered is enough: a later mistake in its spec, or an outage, does not stop the bindings.
	if !known || install.Status.ResourceID == "" {
		return target{}, problem.Waiting(v1alpha1.ReasonResourceNotReady,
			"KeycardResource %s is not registered in its zone yet; see its conditions", key)
	}
	if !install.DeletionTimestamp.IsZero() {
		return target{}, problem.Waiting(v1alpha1.ReasonResourceNotReady, "KeycardResource %s is being deleted", key)
	}
	scopes, err := requestedScopes(b, &install)
	return target{
		install: &install, issuer: install.Spec.Zone.IssuerURL(), resource: entry.Resource.Identifier, scopes: scopes,
		progress: progressOf(&install),
	}, err
}

// progressOf returns how far an install has come.
func progressOf(install *v1alpha1.KeycardResource) refresh.Progress {
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
	return refresh.Progress{
		Policies:     of(v1alpha1.ConditionPoliciesApplied, len(spec.Policies) > 0),
		Applications: of(v1alpha1.ConditionApplicationsRegistered, len(spec.Applications) > 0 || spec.WorkloadRegistration != nil),
	}
}

// notAdmitted says the same of a resource that does not exist and of one that does not admit the namespace. Where namespaces are
// not watched, no watch reports a label that admits it, so it is tried again.
func (c *Controller) notAdmitted(resource client.ObjectKey, namespace string) *problem.Problem {
	say := problem.Waiting
	if c.LiveNamespaces {
		say = problem.Passing
	}
	return say(v1alpha1.ReasonResourceNotFound,
		"KeycardResource %s does not exist or does not admit namespace %s; check spec.resourceRef, and allowedNamespaces of the KeycardResource",
		resource, namespace)
}

// requestedScopes returns what the binding asks for, or all that the resource offers; sorted.
func requestedScopes(b *v1alpha1.ConfluenceTokenBinding, resource *v1alpha1.KeycardResource) ([]string, error) {
	offered := v1alpha1.ScopeNames(resource.Status.Scopes)
	wanted := v1alpha1.ScopeNames(b.Spec.Scopes)
	if len(wanted) == 0 {
		wanted = offered
	}
	missing := lacking(offered, wanted)
	if len(missing) > 0 {
		return nil, problem.Blocked(v1alpha1.ReasonScopeNotOffered,
			"KeycardResource %s does not offer %s; it offers %s. Change spec.scopes here, or spec.scopes of the KeycardResource",
			resource.Name, strings.Join(missing, ", "), strings.Join(offered, ", "))
	}
	slices.Sort(wanted)
	return wanted, nil
}

// lacking returns which of the wanted scopes are not there.
func lacking(there, wanted []string) (missing []string) {
	for _, scope := range wanted {
		if !slices.Contains(there, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// zone returns the client of the zone's authorization server.
func (c *Controller) zone(ctx context.Context, t target) (*keycard.ZoneClient, error) {
	pool, err := zones.Pool(ctx, c.Live, c.Zones, t.install.Namespace, t.install.Spec.Zone.CABundle)
	if err != nil {
		return nil, err
	}
	return pool.Zone(t.issuer)
}
