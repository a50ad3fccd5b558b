// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/remote"
)

const stepApplications = v1alpha1.ConditionApplicationsRegistered

// Deps are what Applications need. All have to be set but ConsentRedirectURIs.
type Deps struct {
	// Cached reads bindings and installs from the cache.
	Cached client.Reader
	// Namespaces reads the labels of namespaces.
	Namespaces client.Reader
	// ClusterIssuer asks the cluster for the issuer of its ServiceAccounts' tokens.
	ClusterIssuer func(context.Context) (string, error)
	// ConsentRedirectURIs are where people come back to after they consented. The application that
	// they sign in to is registered in the zone with them; without any, there is none.
	ConsentRedirectURIs []string
	// SeesSome is true for an operator that may see some namespaces only.
	SeesSome bool
}

// Applications lets applications ask for tokens of an install's resource.
type Applications struct{ deps Deps }

// New makes Applications.
func New(d Deps) *Applications { return &Applications{deps: d} }

// Ensure gives access to the applications of the spec, to that for consent, and to workloads.
func (a *Applications) Ensure(ctx context.Context, in *Install) error {
	unlock, err := in.Zone.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var first error
	for _, ensure := range []func(context.Context, *Install) error{ensureDeclared, a.ensureConsent, a.ensureWorkloads} {
		err := ensure(ctx, in)
		if p := problem.Of(err); p != nil && p.Passes() {
			return err
		}
		// What a person has to mend of some applications does not keep the others out.
		if first == nil {
			first = err
		}
	}
	return first
}

// Remove takes back what Ensure gave, before the resource is deleted. resourceID is empty when it
// is not known any more: then applications that are left without any dependency go.
func (a *Applications) Remove(ctx context.Context, in *Install, resourceID string) error {
	unlock, err := in.Zone.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, known := range in.Object.Status.Applications {
		if err := in.Zone.DeleteDependency(ctx, in.Zone.ID, known.ID, resourceID); err != nil {
			return err
		}
	}
	if len(a.deps.ConsentRedirectURIs) > 0 || in.Object.Status.ConsentClientID != "" {
		if err := removeConsent(ctx, in, resourceID); err != nil {
			return err
		}
	}
	return removeWorkloads(ctx, in, resourceID, nil)
}

// ensureDeclared gives the applications of the spec the dependency, and takes it from those that
// left.
func ensureDeclared(ctx context.Context, in *Install) error {
	if len(in.Object.Spec.Applications)+len(in.Object.Status.Applications) == 0 {
		return nil
	}
	wanted, missing, err := findDeclared(ctx, in)
	if err != nil {
		return err
	}
	if err := remember(ctx, in, wanted); err != nil {
		return err
	}
	for _, app := range wanted {
		if err := link(ctx, in, app.ID, app.Identifier, false); err != nil {
			return err
		}
	}
	if err := unlinkUndeclared(ctx, in); err != nil {
		return err
	}
	if len(missing) > 0 {
		return problem.ApplicationsNotFound(missing)
	}
	return nil
}

// findDeclared looks the applications of the spec up, and names those that the zone does not have.
func findDeclared(ctx context.Context, in *Install) (found []v1alpha1.ApplicationStatus, missing []string, err error) {
	for _, ref := range in.Object.Spec.Applications {
		app, there, err := in.Zone.FindApplication(ctx, in.Zone.ID, ref.Identifier)
		switch {
		case err != nil:
			return nil, nil, err
		case there:
			found = append(found, v1alpha1.ApplicationStatus{Identifier: ref.Identifier, ID: app.ID})
		default:
			missing = append(missing, ref.Identifier)
		}
	}
	return found, missing, nil
}

// remember writes into status what is about to be given the dependency, before it is: otherwise a
// crash in between would leave a dependency that no one takes back. What is no longer declared
// stays until it is taken back.
func remember(ctx context.Context, in *Install, wanted []v1alpha1.ApplicationStatus) error {
	if in.Zone.Observing {
		return nil
	}
	list := slices.Clone(wanted)
	for _, known := range in.Object.Status.Applications {
		if !slices.ContainsFunc(wanted, func(a v1alpha1.ApplicationStatus) bool { return a.Identifier == known.Identifier }) {
			list = append(list, known)
		}
	}
	slices.SortFunc(list, func(a, b v1alpha1.ApplicationStatus) int { return strings.Compare(a.Identifier, b.Identifier) })
	if slices.Equal(list, in.Object.Status.Applications) {
		return nil
	}
	in.Object.Status.Applications = list
	return in.Save(ctx)
}

// unlinkUndeclared takes the dependency from the applications that left the spec. That is no drift.
func unlinkUndeclared(ctx context.Context, in *Install) error {
	if in.Zone.Observing {
		return nil
	}
	var declared []v1alpha1.ApplicationStatus
	for _, known := range in.Object.Status.Applications {
		if slices.Contains(in.Object.Spec.Applications, v1alpha1.ApplicationReference{Identifier: known.Identifier}) {
			declared = append(declared, known)
			continue
		}
		log.FromContext(ctx).Info("removing the dependency", "application", known.Identifier)
		if err := in.Zone.DeleteDependency(ctx, in.Zone.ID, known.ID, in.Object.Status.ResourceID); err != nil {
			return err
		}
	}
	in.Object.Status.Applications = declared
	return nil
}

// link gives an application the resource as a dependency, unless it has it. One that holds only
// while the application accesses certain resources would refuse it tokens at other times.
func link(ctx context.Context, in *Install, id, name string, fresh bool) error {
	have, found, err := in.Zone.FindDependency(ctx, in.Zone.ID, id, in.Object.Status.ResourceID)
	field := "dependency"
	switch {
	case err != nil, found && len(have.WhenAccessing) == 0:
		return err
	case found:
		field = "whenAccessing"
	}
	log.FromContext(ctx).Info("adding the dependency", "application", name)
	return in.Zone.Change(stepApplications, "application "+name, missing(field, fresh), func() error {
		return in.Zone.PutDependency(ctx, in.Zone.ID, id, in.Object.Status.ResourceID)
	})
}

// missing names a field that differs, but of an application that was just made.
func missing(field string, fresh bool) []string {
	if fresh {
		return nil
	}
	return []string{field}
}

// addCredential makes a credential of an application; none where the zone is only observed.
func addCredential(ctx context.Context, in *Install, body keycard.ApplicationCredentialCreate, name string, fresh bool) (made keycard.ApplicationCredential, err error) {
	err = in.Zone.Change(stepApplications, "application "+name, missing("credential", fresh), func() error {
		made, err = in.Zone.CreateApplicationCredential(ctx, in.Zone.ID, body)
		return remote.CreateProblem(err, "credential")
	})
	return made, err
}

// refuse is the claim to an application that has to be ours by its identifier, and has no marker.
func refuse(marker remote.Marker) func(keycard.Application) (bool, error) {
	return func(app keycard.Application) (bool, error) {
		return false, problem.ApplicationNotOurs(app.Name, app.Identifier, string(marker))
	}
}

// release takes the dependency from an application of ours, and removes it when it has no other.
func release(ctx context.Context, in *Install, app keycard.Application, marker remote.Marker, resourceID string) (gone bool, err error) {
	others, err := in.Zone.ListDependencies(ctx, in.Zone.ID, app.ID)
	if err != nil {
		return false, err
	}
	all := len(others)
	others = slices.DeleteFunc(others, func(r keycard.Resource) bool { return r.ID == resourceID })
	if len(others) > 0 {
		if len(others) == all {
			return false, nil
		}
		return false, in.Zone.DeleteDependency(ctx, in.Zone.ID, app.ID, resourceID)
	}
	credentials, err := in.Zone.ListApplicationCredentials(ctx, in.Zone.ID, app.ID)
	if err != nil {
		return false, err
	}
	for _, c := range credentials {
		if err := in.Zone.DeleteApplicationCredential(ctx, in.Zone.ID, c.ID); err != nil {
			return false, err
		}
	}
	if all > 0 {
		if err := in.Zone.DeleteDependency(ctx, in.Zone.ID, app.ID, resourceID); err != nil {
			return false, err
		}
	}
	return true, remote.Delete(ctx, in.Zone, remote.Applications, app, marker)
}
