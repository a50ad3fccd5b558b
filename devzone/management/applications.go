// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type applicationView struct {
	base
	OwnerType         string                      `json:"owner_type"`
	Identifier        string                      `json:"identifier"`
	Name              string                      `json:"name"`
	Description       *string                     `json:"description"`
	Consent           string                      `json:"consent"`
	DependenciesCount int                         `json:"dependencies_count"`
	Traits            []string                    `json:"traits"`
	Metadata          *store.Metadata             `json:"metadata,omitempty"`
	Protocols         *store.ApplicationProtocols `json:"protocols"`
}

var applications = kind[store.Application]{
	shape: uncursored,
	table: func(tx *store.Tx) *store.Table[store.Application] { return tx.Applications },
	view:  func(c *call, a store.Application) any { return c.applicationView(a) },
	guard: func(c *call, a store.Application) error { return notOfPlatform(c, a.OwnerType) },
	empty: func(c *call) store.Application {
		return store.Application{Meta: store.Meta{ZoneID: c.zone.ID}, OwnerType: store.OwnerCustomer, Consent: "required"}
	},
	fields: func(_ *call, a *store.Application, creating bool) fields {
		return fields{
			text("identifier", creating, &a.Identifier, isIdentifier),
			text("name", creating, &a.Name, isName),
			nullableText("description", &a.Description, isDescription),
			ignored[[]json.RawMessage]("dependencies", "an array"),
			texts("traits", &a.Traits, isOneOf(traits...)),
			text("consent", false, &a.Consent, isOneOf("implicit", "required")),
			metadata(&a.Metadata),
			nested("protocols", &a.Protocols, func(x *store.ApplicationProtocols) fields {
				return fields{nested("oauth2", &x.OAuth2, func(o *store.ApplicationOAuth2) fields {
					return fields{
						texts("redirect_uris", &o.RedirectURIs, isNotEmpty),
						texts("post_logout_redirect_uris", &o.PostLogoutRedirectURIs, isNotEmpty),
					}
				})}
			}),
		}
	},
	filters: filters[store.Application]{
		"identifier":         is(applicationIdentifier),
		"slug":               is(applicationSlug),
		"filter[id]":         among(func(a store.Application) string { return a.ID }),
		"filter[identifier]": among(applicationIdentifier),
		"filter[slug]":       among(applicationSlug),
		"query[]":            contains(applicationName, applicationIdentifier),
		"query[name]":        contains(applicationName),
		"query[identifier]":  contains(applicationIdentifier),
		"traits":             withTraits(func(has, _ int) bool { return has > 0 }),
		"traits[all]":        withTraits(func(has, asked int) bool { return has == asked }),
	},
	orders: func(*call) map[string]func(a, b store.Application) int {
		return map[string]func(a, b store.Application) int{
			"name":       by(applicationName),
			"identifier": by(applicationIdentifier),
		}
	},
	remove: func(c *call, a store.Application) error { return c.tx.DeleteApplication(a.ZoneID, a.ID) },
}

func applicationIdentifier(a store.Application) string { return a.Identifier }
func applicationName(a store.Application) string       { return a.Name }
func applicationSlug(a store.Application) string       { return a.Slug }

// traits are what applications can be.
var traits = []string{"gateway", "mcp-provider"}

// withTraits chooses applications by how many of their traits are asked for.
func withTraits(enough func(has, asked int) bool) filter[store.Application] {
	return func(_ *call, values []string) (func(store.Application) bool, string) {
		for _, t := range values {
			if problem := isOneOf(traits...)(t); problem != "" {
				return nil, problem
			}
		}
		return func(a store.Application) bool {
			has := 0
			for _, t := range values {
				if slices.Contains(a.Traits, t) {
					has++
				}
			}
			return enough(has, len(values))
		}, ""
	}
}

// application is the one that the path names.
func (c *call) application() (store.Application, error) {
	return c.tx.Applications.Get(c.zone.ID, c.r.PathValue("id"))
}

func (c *call) applicationView(a store.Application) applicationView {
	v := applicationView{
		base:              c.base(a.Meta),
		OwnerType:         a.OwnerType,
		Identifier:        a.Identifier,
		Name:              a.Name,
		Description:       a.Description,
		Consent:           a.Consent,
		DependenciesCount: len(c.tx.Dependencies.Of(a.ZoneID, a.ID)),
		Traits:            append([]string{}, a.Traits...),
		Metadata:          a.Metadata,
	}
	if a.Protocols != nil && a.Protocols.OAuth2 != nil {
		v.Protocols = a.Protocols
	}
	return v
}
