// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// clusterObject is what events and conditions call the provider of the cluster.
const clusterObject = "provider of the cluster"

func (in *Install) clusterMarker() remote.Marker {
	return remote.ClusterMarker(in.ClusterID, "cluster")
}

// ensureCluster makes sure that the zone trusts the tokens of this cluster's ServiceAccounts, and
// gives the id of the provider that stands for the cluster.
func (a *Applications) ensureCluster(ctx context.Context, in *Install) (string, error) {
	issuer, err := a.issuer(ctx, in)
	if err != nil {
		return "", err
	}
	keys := in.Object.Spec.WorkloadRegistration.JWKSURI
	provider, standing, err := remote.Ensure(ctx, in.Zone, remote.Providers, remote.Provider{
		Step: stepApplications, Object: clusterObject, Identifier: issuer, Marker: in.clusterMarker(),
		Body: keycard.ProviderCreate{
			Identifier: issuer, Name: "Kubernetes cluster " + in.ClusterID,
			Description: "Registered by the Keycard operator: the ServiceAccounts of the cluster it runs in. " + string(in.clusterMarker()),
			OAuth2:      keycard.ProviderOAuth2{Issuer: issuer, JWKSURI: keys},
		},
		Claim: func(keycard.Provider) (bool, error) { return false, nil },
		Differs: func(have keycard.Provider) (p keycard.ProviderPatch, fields []string) {
			if keys == "" || have.Protocols.OAuth2.JWKSURI == keys {
				return p, nil
			}
			p.OAuth2.JWKSURI = keycard.Set(keys)
			return p, []string{"jwksURI"}
		},
	})
	if err == nil && standing == remote.Managed && keys == "" {
		err = a.endKeys(ctx, in, provider)
	}
	return provider.ID, err
}

func (a *Applications) issuer(ctx context.Context, in *Install) (string, error) {
	if issuer := in.Object.Spec.WorkloadRegistration.Issuer; issuer != "" {
		return issuer, nil
	}
	issuer, err := a.deps.ClusterIssuer(ctx)
	return issuer, problem.Cluster("asking the cluster for the issuer of its ServiceAccounts", err)
}

// endKeys makes the zone look for the cluster's keys at the issuer when no install says otherwise
// any more. An operator that sees some namespaces only does not know that.
func (a *Applications) endKeys(ctx context.Context, in *Install, have keycard.Provider) error {
	if have.Protocols.OAuth2.JWKSURI == "" || a.deps.SeesSome {
		return nil
	}
	var all v1alpha1.KeycardResourceList
	if err := a.deps.Cached.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return problem.Cluster("listing KeycardResources", err)
	}
	if slices.ContainsFunc(all.Items, func(other v1alpha1.KeycardResource) bool {
		workloads := other.Spec.WorkloadRegistration
		return workloads != nil && workloads.JWKSURI != "" && other.Spec.Zone.ID == in.Zone.ID && other.DeletionTimestamp.IsZero()
	}) {
		return nil
	}
	return in.Zone.Change(stepApplications, clusterObject, nil, func() error {
		now, err := in.Zone.PatchProvider(ctx, in.Zone.ID, have.ID, keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{JWKSURI: keycard.Null[string]()}})
		if err == nil && now.Protocols.OAuth2.JWKSURI == "" { // otherwise the zone shows what it found at the issuer
			in.Zone.Note(stepApplications, clusterObject, "jwksURI")
		}
		return err
	})
}

// removeCluster removes the provider of the cluster when the operator made it and no one uses it.
func removeCluster(ctx context.Context, in *Install) error {
	providers, err := in.Zone.ListProviders(ctx, in.Zone.ID, func(p keycard.Provider) bool { return in.clusterMarker().In(p.Description) })
	if err != nil || len(providers) == 0 {
		return err
	}
	credentials, err := in.Zone.ListApplicationCredentials(ctx, in.Zone.ID, "")
	if err != nil {
		return err
	}
	for _, p := range providers {
		if slices.ContainsFunc(credentials, func(c keycard.ApplicationCredential) bool { return c.ProviderID == p.ID }) {
			continue
		}
		if err := remote.Delete(ctx, in.Zone, remote.Providers, p, in.clusterMarker()); err != nil {
			return err
		}
	}
	return nil
}
