// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"slices"

	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Providers, Resources and Applications are kinds of which an object is known by its identifier.
var (
	Providers = Kind[keycard.Provider, keycard.ProviderCreate, keycard.ProviderPatch]{
		Name:   "provider",
		Find:   (*keycard.ManagementClient).FindProvider,
		Create: (*keycard.ManagementClient).CreateProvider,
		Patch:  (*keycard.ManagementClient).PatchProvider,
		Delete: (*keycard.ManagementClient).DeleteProvider,
		About:  func(p keycard.Provider) (id, description string) { return p.ID, p.Description },
	}
	Resources = Kind[keycard.Resource, keycard.ResourceCreate, keycard.ResourcePatch]{
		Name:   "resource",
		Find:   (*keycard.ManagementClient).FindResource,
		Create: (*keycard.ManagementClient).CreateResource,
		Patch:  (*keycard.ManagementClient).PatchResource,
		Delete: (*keycard.ManagementClient).DeleteResource,
		About:  func(r keycard.Resource) (id, description string) { return r.ID, r.Description },
	}
	Applications = Kind[keycard.Application, keycard.ApplicationCreate, keycard.ApplicationPatch]{
		Name:   "application",
		Find:   (*keycard.ManagementClient).FindApplication,
		Create: (*keycard.ManagementClient).CreateApplication,
		Patch:  (*keycard.ManagementClient).PatchApplication,
		Delete: (*keycard.ManagementClient).DeleteApplication,
		About:  func(a keycard.Application) (id, description string) { return a.ID, a.Description },
	}
)

type (
	// Provider is a provider that is wanted.
	Provider = Want[keycard.Provider, keycard.ProviderCreate, keycard.ProviderPatch]
	// Resource is a resource that is wanted.
	Resource = Want[keycard.Resource, keycard.ResourceCreate, keycard.ResourcePatch]
	// Application is an application that is wanted.
	Application = Want[keycard.Application, keycard.ApplicationCreate, keycard.ApplicationPatch]
	// Policy is a policy that is wanted.
	Policy = Want[keycard.Policy, keycard.PolicyCreate, NoPatch]
)

// NoPatch is the patch of a kind that is never changed.
type NoPatch struct{}

// IsZero reports that there is nothing to send.
func (NoPatch) IsZero() bool { return true }

// Policies is the kind of policies, which are known by their names among those that are ours. They
// have no query, so they are listed at once.
func Policies(ours []keycard.Policy) Kind[keycard.Policy, keycard.PolicyCreate, NoPatch] {
	return Kind[keycard.Policy, keycard.PolicyCreate, NoPatch]{
		Name: "policy",
		Find: func(_ *keycard.ManagementClient, _ context.Context, _, name string) (keycard.Policy, bool, error) {
			i := slices.IndexFunc(ours, func(p keycard.Policy) bool { return p.Name == name })
			if i < 0 {
				return keycard.Policy{}, false, nil
			}
			return ours[i], true, nil
		},
		Create: (*keycard.ManagementClient).CreatePolicy,
		Delete: (*keycard.ManagementClient).ArchivePolicy,
		About:  func(p keycard.Policy) (id, description string) { return p.ID, p.Description },
	}
}

// Differences names the fields of a patch, while the patch is filled.
type Differences []string

// Text sets a field that differs.
func (d *Differences) Text(name string, field *keycard.Field[string], have, want string) {
	Value(d, name, field, want, have == want)
}

// Stated sets a field that differs, where the zone states it: what is left out has the default.
func (d *Differences) Stated(name string, field *keycard.Field[string], have, want string) {
	Value(d, name, field, want, have == "" || have == want)
}

// Value sets a field unless it is the same.
func Value[T any](d *Differences, name string, field *keycard.Field[T], want T, same bool) {
	if !same {
		*field = keycard.Set(want)
		*d = append(*d, name)
	}
}

// SameSet compares lists without regard to order, which the zone need not keep.
func SameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
