// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// target is the resource that a token is asked for.
type target struct {
	resource store.Resource
	// provider is nil when the resource has none.
	provider *store.Provider
}

// resolve finds the resource that a request names: the one with exactly this
// identifier, or else the one with the longest matching prefix.
func resolve(resources []store.Resource, requested string) (store.Resource, bool) {
	var best store.Resource
	found := false
	for _, r := range resources {
		if r.Identifier == requested {
			return r, true
		}
		if r.Prefix && continues(r.Identifier, requested) && len(r.Identifier) > len(best.Identifier) {
			best, found = r, true
		}
	}
	return best, found
}

// continues tells whether a URI goes on after the prefix at a path, query or
// fragment boundary.
func continues(prefix, uri string) bool {
	rest, ok := strings.CutPrefix(uri, prefix)
	if !ok || rest == "" {
		return ok
	}
	return strings.HasSuffix(prefix, "/") || strings.ContainsRune("/?#", rune(rest[0]))
}

// findTarget resolves the resource parameter and checks that the application
// depends on it; via is the resource through which it is reached, if any.
func findTarget(tx *store.Tx, c call, via *store.Resource) (target, error) {
	requested := c.form["resource"]
	if requested == "" {
		return target{}, invalidRequest("resource is required")
	}
	resource, ok := resolve(tx.Resources.All(c.zone.ID, nil), requested)
	if !ok {
		return target{}, refuse("invalid_target", "Requested authorization for unknown resource %q", requested)
	}
	key := store.DependencyKey(c.client.application.ID, resource.ID)
	dependency, ok := tx.Dependencies.Find(c.zone.ID, key)
	reachable := len(dependency.WhenAccessing) == 0 ||
		(via != nil && slices.Contains(dependency.WhenAccessing, via.ID))
	if !ok || !reachable {
		return target{}, refuse("access_denied", "Application %q is not allowed to access %q.",
			c.client.application.Name, resource.Identifier)
	}
	t := target{resource: resource}
	if id := resource.CredentialProviderID; id != nil {
		provider, err := tx.Providers.Get(c.zone.ID, *id)
		if err != nil {
			return t, err
		}
		t.provider = &provider
	}
	return t, nil
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
