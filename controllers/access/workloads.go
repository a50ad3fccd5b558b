// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// workload is a ServiceAccount of this cluster.
type workload struct{ namespace, serviceAccount string }

func (w workload) String() string { return w.namespace + "/" + w.serviceAccount }

// subject is how the cluster names it in its tokens.
func (w workload) subject() string {
	return "system:serviceaccount:" + w.namespace + ":" + w.serviceAccount
}

func (in *Install) workloadIdentifier(w workload) string {
	return fmt.Sprintf("urn:kubernetes:%s:serviceaccount:%s:%s", in.ClusterID, w.namespace, w.serviceAccount)
}

func (in *Install) workloadMarker() remote.Marker {
	return remote.ClusterMarker(in.ClusterID, "workload")
}

// ensureWorkloads registers the ServiceAccounts that bindings name, and removes those that none
// names any more. All installs of the cluster share the applications of workloads; each looks after
// its own dependency.
func (a *Applications) ensureWorkloads(ctx context.Context, in *Install) error {
	if in.Object.Spec.WorkloadRegistration == nil {
		return endRegistration(ctx, in)
	}
	wanted, err := a.workloads(ctx, in)
	if err != nil {
		return err
	}
	if in.Object.Status.Workloads == nil && !in.Zone.Observing {
		// Before anything is made, so that it goes when the registration is switched off.
		in.Object.Status.Workloads = new(int32)
		if err := in.Save(ctx); err != nil {
			return err
		}
	}
	provider, err := a.ensureCluster(ctx, in)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if err := ensureWorkload(ctx, in, w, provider); err != nil {
			return err
		}
	}
	if in.Zone.Observing {
		return nil
	}
	in.Object.Status.Workloads = new(int32(min(len(wanted), math.MaxInt32)))
	return removeWorkloads(ctx, in, in.Object.Status.ResourceID, wanted)
}

// endRegistration removes all workloads of an install that registered some once.
func endRegistration(ctx context.Context, in *Install) error {
	if in.Object.Status.Workloads == nil || in.Zone.Observing {
		return nil
	}
	if err := removeWorkloads(ctx, in, in.Object.Status.ResourceID, nil); err != nil {
		return err
	}
	in.Object.Status.Workloads = nil
	return nil
}

// workloads are the ServiceAccounts that bindings in admitted namespaces name; sorted.
func (a *Applications) workloads(ctx context.Context, in *Install) ([]workload, error) {
	users, err := index.Users(ctx, a.deps.Cached, in.Key())
	if err != nil {
		return nil, err
	}
	var found []workload
	for i := range users {
		name := users[i].Spec.Application.ServiceAccountName
		if name == "" {
			continue
		}
		admitted, err := namespaces.Admits(ctx, a.deps.Namespaces, in.Object, users[i].Namespace)
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

// ensureWorkload makes sure of a ServiceAccount's application, its credential and the dependency.
func ensureWorkload(ctx context.Context, in *Install, w workload, provider string) error {
	app, standing, err := remote.Ensure(ctx, in.Zone, remote.Applications, remote.Application{
		Step: stepApplications, Object: "application " + w.String(), Identifier: in.workloadIdentifier(w), Marker: in.workloadMarker(),
		Body: keycard.ApplicationCreate{
			Identifier: in.workloadIdentifier(w), Name: w.String() + " in Kubernetes",
			Description: "Registered by the Keycard operator for ServiceAccount " + w.String() + ". " + string(in.workloadMarker()),
		},
		Claim: refuse(in.workloadMarker()),
	})
	if err != nil {
		return err
	}
	fresh := standing == remote.Created
	if err := ensureWorkloadCredential(ctx, in, w, app, provider, fresh); err != nil {
		return err
	}
	return link(ctx, in, app.ID, w.String(), fresh)
}

// ensureWorkloadCredential makes sure that the zone knows the workload by its tokens.
func ensureWorkloadCredential(ctx context.Context, in *Install, w workload, app keycard.Application, provider string, fresh bool) error {
	have, err := in.Zone.ListApplicationCredentials(ctx, in.Zone.ID, app.ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(c keycard.ApplicationCredential) bool {
		return c.Type == keycard.CredentialToken && c.ProviderID == provider && c.Subject == w.subject()
	}) {
		return nil
	}
	_, err = addCredential(ctx, in, keycard.ApplicationCredentialCreate{
		ApplicationID: app.ID, Type: keycard.CredentialToken, ProviderID: provider, Subject: w.subject(),
	}, w.String(), fresh)
	return err
}

// removeWorkloads takes the dependency from this cluster's workloads that are not wanted, and
// removes those that are left without any, and the cluster itself when no workload is left.
func removeWorkloads(ctx context.Context, in *Install, resourceID string, wanted []workload) error {
	keep := map[string]bool{}
	for _, w := range wanted {
		keep[in.workloadIdentifier(w)] = true
	}
	ours, err := in.Zone.ListApplications(ctx, in.Zone.ID, func(a keycard.Application) bool { return in.workloadMarker().In(a.Description) })
	if err != nil {
		return err
	}
	left := len(ours)
	for _, app := range ours {
		if keep[app.Identifier] {
			continue
		}
		gone, err := release(ctx, in, app, in.workloadMarker(), resourceID)
		if err != nil {
			return err
		}
		if gone {
			left--
		}
	}
	if left > 0 || len(wanted) > 0 {
		return nil
	}
	return removeCluster(ctx, in)
}
