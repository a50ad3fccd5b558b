// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"

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
	Metadata          *store.Metadata             `json:"metadata"`
	Protocols         *store.ApplicationProtocols `json:"protocols"`
}

var applications = kind[store.Application]{
	shape: legacy,
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
			ignored[[]string]("traits", "an array of strings"),
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
		"identifier":  is(func(a store.Application) string { return a.Identifier }),
		"slug":        is(func(a store.Application) string { return a.Slug }),
		"traits":      traits,
		"traits[all]": traits,
	},
	remove: func(c *call, a store.Application) error { return c.tx.DeleteApplication(a.ZoneID, a.ID) },
}

// traits chooses nothing: no application here has a trait, because neither
// create nor update takes one.
func traits(_ *call, values []string) (func(store.Application) bool, string) {
	for _, t := range values {
		if text := isOneOf("gateway", "mcp-provider")(t); text != "" {
			return nil, text
		}
	}
	return func(store.Application) bool { return false }, ""
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
		Metadata:          a.Metadata,
	}
	if a.Protocols != nil && a.Protocols.OAuth2 != nil {
		v.Protocols = a.Protocols
	}
	return v
}
