// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// target is the resource that a token is asked for.
type target struct {
	resource store.Resource
	// provider is nil when the resource has none.
	provider *store.Provider
}

// maxIdentifier is the length of the longest resource identifier in bytes: 2048
// characters.
const maxIdentifier = 4 * 2048

// resolve finds the resource that a request names: the one with exactly this
// identifier, or else the one with the longest matching prefix.
func resolve(tx *store.Tx, zoneID, requested string) (store.Resource, bool) {
	return match(requested, func(identifier string) (store.Resource, bool) {
		return tx.Resources.Find(zoneID, identifier)
	})
}

// match tries what comes before each path, query and fragment boundary of the
// requested URI, from its end.
func match(requested string, find func(identifier string) (store.Resource, bool)) (store.Resource, bool) {
	if len(requested) > maxIdentifier {
		return store.Resource{}, false
	}
	if r, ok := find(requested); ok {
		return r, true
	}
	for end := len(requested) - 1; end > 0; end-- {
		boundary := requested[end-1] == '/' || strings.IndexByte("/?#", requested[end]) >= 0
		if !boundary {
			continue
		}
		if r, ok := find(requested[:end]); ok && r.Prefix {
			return r, true
		}
	}
	return store.Resource{}, false
}

// lookUp resolves a resource parameter.
func lookUp(tx *store.Tx, zoneID, requested string) (target, error) {
	resource, ok := resolve(tx, zoneID, requested)
	if !ok {
		return target{}, refuse("invalid_target", "Requested authorization for unknown resource %q", shortened(requested))
	}
	return withProvider(tx, resource)
}

func withProvider(tx *store.Tx, resource store.Resource) (target, error) {
	t := target{resource: resource}
	id := resource.CredentialProviderID
	if id == nil {
		return t, nil
	}
	provider, err := tx.Providers.Get(resource.ZoneID, *id)
	t.provider = &provider
	return t, err
}

// findTarget resolves the resource parameter and checks that the application
// depends on it; via is the resource through which it is reached, if any.
func findTarget(tx *store.Tx, c call, via *store.Resource) (target, error) {
	requested := c.form["resource"]
	if requested == "" {
		return target{}, invalidRequest("resource is required")
	}
	t, err := lookUp(tx, c.zone.ID, requested)
	if err != nil {
		return t, err
	}
	dependency, ok := tx.Dependencies.Find(c.zone.ID, store.DependencyKey(c.client.application.ID, t.resource.ID))
	reachable := len(dependency.WhenAccessing) == 0 ||
		(via != nil && slices.Contains(dependency.WhenAccessing, via.ID))
	if !ok || !reachable {
		return t, forbidden(c, t.resource)
	}
	return t, nil
}

func forbidden(c call, r store.Resource) error {
	return refuse("access_denied", "Application %q is not allowed to access %q.", c.client.application.Name, r.Identifier)
}

func (t target) kind() string {
	if t.provider == nil {
		return ""
	}
	return t.provider.Type
}

// unissuable says that the zone itself is set up wrongly.
func (t target) unissuable() error {
	e := refuse("server_error", "Resource %q is missing a credential provider", t.resource.Identifier)
	if t.provider != nil {
		e.Description = "Resource \"" + t.resource.Identifier + "\" has a credential provider of the type " +
			t.provider.Type + ", which this server does not issue from"
	}
	e.Status = http.StatusInternalServerError
	return e
}
