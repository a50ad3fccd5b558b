// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Bounds of a resource's credential lifetime in seconds: a minute to a day.
const (
	minCredentialLifetime = 60
	maxCredentialLifetime = 86400
)

type resourceView struct {
	base
	OwnerType                 string          `json:"owner_type"`
	Identifier                string          `json:"identifier"`
	Name                      string          `json:"name"`
	Description               *string         `json:"description"`
	ApplicationID             *string         `json:"application_id,omitempty"`
	ApplicationType           string          `json:"application_type"`
	CredentialProviderID      *string         `json:"credential_provider_id,omitempty"`
	CredentialLifetimeSeconds *int64          `json:"credential_lifetime_seconds,omitempty"`
	Metadata                  *store.Metadata `json:"metadata,omitempty"`
	Prefix                    bool            `json:"prefix"`
	Scopes                    []string        `json:"scopes"`
	// WhenAccessing is there only when the resource is listed as a dependency.
	WhenAccessing *[]string `json:"when_accessing,omitempty"`
}

func (s *server) resourceRoutes() {
	collection[store.Resource, *store.Resource]{
		server: s,
		table:  func(tx *store.Tx) *store.Table[store.Resource, *store.Resource] { return tx.Resources },
		meta:   func(r store.Resource) store.Meta { return r.Meta },
		view:   func(_ *store.Tx, r store.Resource) any { return s.resourceView(r) },
		read:   readResource,
		frozen: func(r store.Resource) bool { return r.OwnerType == store.OwnerPlatform },
		empty: func(zoneID string) store.Resource {
			return store.Resource{
				Meta:      store.Meta{ZoneID: zoneID},
				OwnerType: store.OwnerCustomer, ApplicationType: "web",
			}
		},
		filter: func(q url.Values) (func(store.Resource) bool, error) {
			provider := either(q, "credentialProviderId", "credential_provider_id")
			return func(r store.Resource) bool {
				return equals(q.Get("identifier"), r.Identifier) && equals(q.Get("slug"), r.Slug) &&
					equals(provider, deref(r.CredentialProviderID))
			}, nil
		},
		create: func(tx *store.Tx, r store.Resource) (store.Resource, error) { return tx.CreateResource(r) },
		remove: func(tx *store.Tx, r store.Resource) error { return tx.DeleteResource(r.ZoneID, r.ID) },
	}.routes("resources")
}

func (s *server) resourceView(r store.Resource) resourceView {
	return resourceView{
		base:                      s.base(r.Meta),
		OwnerType:                 r.OwnerType,
		Identifier:                r.Identifier,
		Name:                      r.Name,
		Description:               r.Description,
		ApplicationID:             r.ApplicationID,
		ApplicationType:           r.ApplicationType,
		CredentialProviderID:      r.CredentialProviderID,
		CredentialLifetimeSeconds: r.CredentialLifetimeSeconds,
		Metadata:                  r.Metadata,
		Prefix:                    r.Prefix,
		Scopes:                    r.Scopes,
	}
}

func readResource(tx *store.Tx, o object, r *store.Resource, creating bool) {
	o.text("identifier", creating, &r.Identifier, isIdentifier)
	o.text("name", creating, &r.Name, isName)
	o.nullableText("description", &r.Description, isDescription)
	o.nullableText("application_id", &r.ApplicationID, exists(tx.Applications, r.ZoneID, "application"))
	o.text("application_type", false, &r.ApplicationType, isOneOf("native", "web"))
	o.nullableText("credential_provider_id", &r.CredentialProviderID, exists(tx.Providers, r.ZoneID, "provider"))
	readMetadata(o, &r.Metadata)
	o.flag("prefix", &r.Prefix)
	o.list("scopes", &r.Scopes, isScope)
	lifetime := get[int64](o, "credential_lifetime_seconds", "a whole number")
	switch {
	case !lifetime.set:
	case lifetime.null:
		r.CredentialLifetimeSeconds = nil
	case lifetime.value < minCredentialLifetime || lifetime.value > maxCredentialLifetime:
		o.problem("credential_lifetime_seconds", "must be 60 to 86400")
	default:
		r.CredentialLifetimeSeconds = &lifetime.value
	}
}

// either returns the first of two query parameters that is there.
func either(q url.Values, first, second string) string {
	if v := q.Get(first); v != "" {
		return v
	}
	return q.Get(second)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
