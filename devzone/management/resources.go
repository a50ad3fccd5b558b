// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"fmt"

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
	// WhenAccessing is there only when the resource is shown as a dependency that is restricted.
	WhenAccessing []string `json:"when_accessing,omitempty"`
}

var resources = kind[store.Resource]{
	table: func(tx *store.Tx) *store.Table[store.Resource] { return tx.Resources },
	view:  func(c *call, r store.Resource) any { return c.resourceView(r) },
	guard: func(c *call, r store.Resource) error { return notOfPlatform(c, r.OwnerType) },
	empty: func(c *call) store.Resource {
		return store.Resource{Meta: store.Meta{ZoneID: c.zone.ID}, OwnerType: store.OwnerCustomer, ApplicationType: "web"}
	},
	fields: func(c *call, r *store.Resource, creating bool) fields {
		return fields{
			text("identifier", creating, &r.Identifier, isIdentifier),
			text("name", creating, &r.Name, isName),
			nullableText("description", &r.Description, isDescription),
			nullableText("application_id", &r.ApplicationID, exists(c.tx.Applications, r.ZoneID, "application")),
			text("application_type", false, &r.ApplicationType, isOneOf("native", "web")),
			nullableText("credential_provider_id", &r.CredentialProviderID, exists(c.tx.Providers, r.ZoneID, "provider")),
			metadata(&r.Metadata),
			flag("prefix", &r.Prefix),
			texts("scopes", &r.Scopes, isScope),
			nullable("credential_lifetime_seconds", "a whole number", &r.CredentialLifetimeSeconds, isCredentialLifetime),
		}
	},
	filters: either(filters[store.Resource]{
		"identifier": is(func(r store.Resource) string { return r.Identifier }),
		"slug":       is(func(r store.Resource) string { return r.Slug }),
	}, "credentialProviderId", "credential_provider_id", is(func(r store.Resource) string { return deref(r.CredentialProviderID) })),
	insert: func(c *call, r store.Resource) (store.Resource, error) { return c.tx.CreateResource(r) },
	remove: func(c *call, r store.Resource) error { return c.tx.DeleteResource(r.ZoneID, r.ID) },
}

// ownedResources are the resources that an application provides.
var ownedResources = kind[store.Resource]{
	shape: legacy,
	table: resources.table,
	view:  resources.view,
	within: func(c *call) (func(store.Resource) bool, error) {
		app, err := c.application()
		return func(r store.Resource) bool { return deref(r.ApplicationID) == app.ID }, err
	},
}

func isCredentialLifetime(seconds int64) string {
	if seconds < minCredentialLifetime || seconds > maxCredentialLifetime {
		return fmt.Sprintf("must be %d to %d", minCredentialLifetime, maxCredentialLifetime)
	}
	return ""
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
