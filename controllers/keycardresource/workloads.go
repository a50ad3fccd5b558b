// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// workload is a ServiceAccount of this cluster.
type workload struct{ namespace, serviceAccount string }

func (w workload) String() string { return w.namespace + "/" + w.serviceAccount }

// subject is how the cluster names it in its tokens.
func (w workload) subject() string {
	return "system:serviceaccount:" + w.namespace + ":" + w.serviceAccount
}

func (s *scope) workloadIdentifier(w workload) string {
	return fmt.Sprintf("urn:kubernetes:%s:serviceaccount:%s:%s", s.clusterID, w.namespace, w.serviceAccount)
}

// ensureWorkloads registers the workloads that bindings name, and removes those that none names any more. All
// resources of the cluster share the applications of workloads; each looks after its own dependency.
func (r *Reconciler) ensureWorkloads(ctx context.Context, s *scope) error {
	if s.resource.Spec.WorkloadRegistration == nil {
		return s.endRegistration(ctx)
	}
	wanted, err := r.workloads(ctx, s)
	if err != nil {
		return err
	}
	if s.resource.Status.Workloads == nil && !s.observing() {
		// Before anything is made, so that it is known to be there when the registration is switched off.
		s.resource.Status.Workloads = new(int32)
		if err := r.patchStatus(ctx, s); err != nil {
			return err
		}
	}
	provider, err := r.ensureCluster(ctx, s)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if err := s.ensureWorkload(ctx, w, provider); err != nil {
			return err
		}
	}
	if s.observing() {
		return nil
	}
	count := int32(min(len(wanted), math.MaxInt32))
	s.resource.Status.Workloads = &count
	return s.removeWorkloads(ctx, s.resource.Status.ResourceID, wanted)
}

// endRegistration removes all workloads of a resource that registered some once.
func (s *scope) endRegistration(ctx context.Context) error {
	if s.resource.Status.Workloads == nil || s.observing() {
		return nil
	}
	if err := s.removeWorkloads(ctx, s.resource.Status.ResourceID, nil); err != nil {
		return err
	}
	s.resource.Status.Workloads = nil
	return nil
}

// workloads are the ServiceAccounts that bindings of this resource name, in namespaces that it admits; sorted.
func (r *Reconciler) workloads(ctx context.Context, s *scope) ([]workload, error) {
	users, err := r.bindingsOf(ctx, s)
	if err != nil {
		return nil, err
	}
	var found []workload
	for i := range users {
		name := users[i].Spec.Application.ServiceAccountName
		if name == "" {
			continue
		}
		admitted, err := namespaces.Admits(ctx, r.namespaces(), s.resource, users[i].Namespace)
		if err != nil {
			return nil, err
		}
		if admitted {
			found = append(found, workload{users[i].Namespace, name})
		}
	}
	slices.SortFunc(found, func(a, b workload) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(found), nil
}

// bindingsOf lists the bindings that use the resource and are not being deleted.
func (r *Reconciler) bindingsOf(ctx context.Context, s *scope) ([]v1alpha1.ConfluenceTokenBinding, error) {
	var all v1alpha1.ConfluenceTokenBindingList
	if err := r.Client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("listing bindings: %w", err)
	}
	return slices.DeleteFunc(all.Items, func(b v1alpha1.ConfluenceTokenBinding) bool {
		return !b.DeletionTimestamp.IsZero() || b.ResourceKey() != s.key()
	}), nil
}

// ensureCluster makes sure that the zone trusts the tokens of this cluster's ServiceAccounts, and gives the id of the
// provider that stands for the cluster.
func (r *Reconciler) ensureCluster(ctx context.Context, s *scope) (string, error) {
	issuer, err := r.clusterIssuer(ctx, s)
	if err != nil {
		return "", err
	}
	have, found, err := s.zone.FindProvider(ctx, s.zoneID(), issuer)
	if err != nil || found {
		if found && strings.Contains(have.Description, s.clusterMarker()) {
			err = r.ensureKeys(ctx, s, have)
		}
		return have.ID, problem.Remote(err)
	}
	if err := s.creating("provider", issuer); err != nil {
		return "", err
	}
	log.FromContext(ctx).Info("registering the cluster", "issuer", issuer)
	made, err := s.zone.CreateProvider(ctx, s.zoneID(), keycard.ProviderCreate{
		Identifier: issuer, Name: "Kubernetes cluster " + s.clusterID,
		Description: "Registered by the Keycard operator: the ServiceAccounts of the cluster it runs in. " + s.clusterMarker(),
		OAuth2:      keycard.ProviderOAuth2{Issuer: issuer, JWKSURI: s.resource.Spec.WorkloadRegistration.JWKSURI},
	})
	return made.ID, createProblem(err, "cluster's provider")
}

func (r *Reconciler) clusterIssuer(ctx context.Context, s *scope) (string, error) {
	if issuer := s.resource.Spec.WorkloadRegistration.Issuer; issuer != "" {
		return issuer, nil
	}
	issuer, err := r.ClusterIssuer(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the cluster for the issuer of its ServiceAccounts: %w", err)
	}
	return issuer, nil
}

// clusterObject is what events and conditions call the provider of the cluster.
const clusterObject = "provider of the cluster"

// ensureKeys makes the zone read the cluster's keys where the spec says.
func (r *Reconciler) ensureKeys(ctx context.Context, s *scope, have keycard.Provider) error {
	var (
		p keycard.ProviderPatch
		d differences
	)
	want := s.resource.Spec.WorkloadRegistration.JWKSURI
	if want == "" {
		return r.endKeys(ctx, s, have)
	}
	d.text("jwksURI", &p.OAuth2.JWKSURI, have.Protocols.OAuth2.JWKSURI, want)
	if p.IsZero() {
		return nil
	}
	return s.change(stepApplications, clusterObject, d, func() error {
		_, err := s.zone.PatchProvider(ctx, s.zoneID(), have.ID, p)
		return err
	})
}

// endKeys makes the zone look for the cluster's keys at the issuer when no install says otherwise any more. An operator
// that sees some namespaces only does not know that.
func (r *Reconciler) endKeys(ctx context.Context, s *scope, have keycard.Provider) error {
	if have.Protocols.OAuth2.JWKSURI == "" || r.LiveNamespaces {
		return nil
	}
	var all v1alpha1.KeycardResourceList
	if err := r.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("listing KeycardResources: %w", err)
	}
	if slices.ContainsFunc(all.Items, func(other v1alpha1.KeycardResource) bool {
		workloads := other.Spec.WorkloadRegistration
		return workloads != nil && workloads.JWKSURI != "" && other.Spec.Zone.ID == s.zoneID() && other.DeletionTimestamp.IsZero()
	}) {
		return nil
	}
	return s.change(stepApplications, clusterObject, nil, func() error {
		now, err := s.zone.PatchProvider(ctx, s.zoneID(), have.ID, keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{JWKSURI: keycard.Null[string]()}})
		if err == nil && now.Protocols.OAuth2.JWKSURI == "" { // otherwise the zone shows what it found at the issuer
			s.drift = append(s.drift, drift{at: stepApplications, object: clusterObject, fields: []string{"jwksURI"}})
		}
		return err
	})
}

// ensureWorkload makes sure that a ServiceAccount has an application, a credential for its tokens, and the dependency.
func (s *scope) ensureWorkload(ctx context.Context, w workload, provider string) error {
	app, found, err := s.zone.FindApplication(ctx, s.zoneID(), s.workloadIdentifier(w))
	if err != nil {
		return problem.Remote(err)
	}
	switch {
	case !found:
		if err := s.creating("application", s.workloadIdentifier(w)); err != nil {
			return err
		}
		log.FromContext(ctx).Info("registering the workload", "workload", w.String())
		app, err = s.zone.CreateApplication(ctx, s.zoneID(), keycard.ApplicationCreate{
			Identifier: s.workloadIdentifier(w), Name: w.String() + " in Kubernetes",
			Description: "Registered by the Keycard operator for ServiceAccount " + w.String() + ". " + s.workloadMarker(),
		})
		if err != nil {
			return createProblem(err, "application")
		}
	case !strings.Contains(app.Description, s.workloadMarker()):
		return problem.NeedsPerson(v1alpha1.ReasonApplicationConflict,
			"the zone has an application %q with the identifier %s that was not made by the operator; remove it, or put the operator's marker %s into its description",
			app.Name, app.Identifier, s.workloadMarker())
	}
	if err := s.ensureWorkloadCredential(ctx, w, app, provider, !found); err != nil {
		return err
	}
	return s.link(ctx, app.ID, w.String(), !found)
}

// ensureWorkloadCredential makes sure that the zone knows the workload by its tokens. A fresh application has no
// credential yet.
func (s *scope) ensureWorkloadCredential(ctx context.Context, w workload, app keycard.Application, provider string, fresh bool) error {
	have, err := s.zone.ListApplicationCredentials(ctx, s.zoneID(), app.ID)
	if err != nil {
		return problem.Remote(err)
	}
	if slices.ContainsFunc(have, func(c keycard.ApplicationCredential) bool {
		return c.Type == keycard.CredentialToken && c.ProviderID == provider && c.Subject == w.subject()
	}) {
		return nil
	}
	return s.change(stepApplications, "application "+w.String(), missing("credential", fresh), func() error {
		_, err := s.zone.CreateApplicationCredential(ctx, s.zoneID(), keycard.ApplicationCredentialCreate{
			ApplicationID: app.ID, Type: keycard.CredentialToken, ProviderID: provider, Subject: w.subject(),
		})
		return createProblem(err, "credential")
	})
}

// removeWorkloads takes the dependency from this cluster's workloads that are not wanted, and removes those that are
// left without any, and the cluster itself when no workload is left.
func (s *scope) removeWorkloads(ctx context.Context, resourceID string, wanted []workload) error {
	keep := map[string]bool{}
	for _, w := range wanted {
		keep[s.workloadIdentifier(w)] = true
	}
	ours, err := s.zone.ListApplications(ctx, s.zoneID(), func(a keycard.Application) bool {
		return strings.Contains(a.Description, s.workloadMarker())
	})
	if err != nil {
		return problem.Remote(err)
	}
	left := 0
	for _, app := range ours {
		gone := false
		if !keep[app.Identifier] {
			if gone, err = s.release(ctx, app, resourceID); err != nil {
				return problem.Remote(err)
			}
		}
		if !gone {
			left++
		}
	}
	if left > 0 || len(wanted) > 0 {
		return nil
	}
	return problem.Remote(s.removeCluster(ctx))
}

// release takes the dependency from an application that the operator made, and removes it when it has no other.
func (s *scope) release(ctx context.Context, app keycard.Application, resourceID string) (gone bool, err error) {
	others, err := s.zone.ListDependencies(ctx, s.zoneID(), app.ID)
	if err != nil {
		return false, err
	}
	all := len(others)
	others = slices.DeleteFunc(others, func(r keycard.Resource) bool { return r.ID == resourceID })
	if len(others) > 0 {
		if len(others) == all {
			return false, nil
		}
		return false, s.zone.DeleteDependency(ctx, s.zoneID(), app.ID, resourceID)
	}
	log.FromContext(ctx).Info("removing the application", "application", app.Identifier)
	credentials, err := s.zone.ListApplicationCredentials(ctx, s.zoneID(), app.ID)
	if err != nil {
		return false, err
	}
	for _, c := range credentials {
		if err := s.zone.DeleteApplicationCredential(ctx, s.zoneID(), c.ID); err != nil {
			return false, err
		}
	}
	if all > 0 {
		if err := s.zone.DeleteDependency(ctx, s.zoneID(), app.ID, resourceID); err != nil {
			return false, err
		}
	}
	return true, s.zone.DeleteApplication(ctx, s.zoneID(), app.ID)
}

// removeCluster removes the provider of the cluster when the operator made it and nobody uses it.
func (s *scope) removeCluster(ctx context.Context) error {
	providers, err := s.zone.ListProviders(ctx, s.zoneID(), func(p keycard.Provider) bool {
		return strings.Contains(p.Description, s.clusterMarker())
	})
	if err != nil || len(providers) == 0 {
		return err
	}
	credentials, err := s.zone.ListApplicationCredentials(ctx, s.zoneID(), "")
	if err != nil {
		return err
	}
	for _, p := range providers {
		if slices.ContainsFunc(credentials, func(c keycard.ApplicationCredential) bool { return c.ProviderID == p.ID }) {
			continue
		}
		if err := s.zone.DeleteProvider(ctx, s.zoneID(), p.ID); err != nil {
			return err
		}
	}
	return nil
}
