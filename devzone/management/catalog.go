// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// packageView is an entry of the catalog.
type packageView struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Form        packageForm `json:"form"`
}

type packageForm struct {
	Fields []packageField `json:"fields"`
}

type packageField struct {
	Name     string `json:"name"`
	Label    string `json:"label"`
	Required bool   `json:"required"`
	Secret   bool   `json:"secret"`
}

// packages is the catalog: Confluence is what this server is about.
var packages = []packageView{{
	ID: "confluence", Name: "Confluence", Description: "The REST API of Confluence Cloud",
	Form: packageForm{Fields: []packageField{
		{Name: "client_id", Label: "Client ID", Required: true}, {Name: "client_secret", Label: "Client secret", Required: true, Secret: true},
	}},
}}

func (s *server) catalogRoutes(path string) {
	s.add(operation{pattern: "GET " + path + "/packages", params: append(modern.params(), "query[]"), answer: listPackages})
	s.add(operation{pattern: "GET " + path + "/packages/{id}", answer: func(c *call) (any, error) { return findPackage(c.r.PathValue("id")) }})
	s.add(taking("POST "+path+"/install", func(_ *call, b *installation) fields {
		return fields{
			text("package_id", true, &b.packageID, isNotEmpty),
			part("fields",
				text("client_id", true, &b.clientID, isNotEmpty),
				text("client_secret", true, &b.clientSecret, isNotEmpty)),
		}
	}, install))
}

func listPackages(c *call) (any, error) {
	var items []item
	keep, _ := contains(func(p packageView) string { return p.ID + " " + p.Name + " " + p.Description })(c, c.params["query[]"])
	for i, p := range packages {
		if keep(p) {
			items = append(items, item{seq: uint64(i) + 1, view: p})
		}
	}
	return c.page(items, false, modern)
}

func findPackage(id string) (packageView, error) {
	i := slices.IndexFunc(packages, func(p packageView) bool { return p.ID == id })
	if i < 0 {
		return packageView{}, &store.NotFoundError{Kind: "package", ID: id}
	}
	return packages[i], nil
}

type installation struct{ packageID, clientID, clientSecret string }

// install registers provider and resource of a package. It is not idempotent,
// like the hosted service's: a second one is a conflict.
func install(c *call, b installation) (any, error) {
	if _, err := findPackage(b.packageID); err != nil {
		return nil, err
	}
	authorize, token := "https://auth.atlassian.com/authorize", "https://auth.atlassian.com/oauth/token"
	meta := store.Meta{ZoneID: c.zone.ID}
	p, err := c.tx.Providers.Insert(store.Provider{
		Meta: meta, OwnerType: store.OwnerCustomer, Type: store.ProviderExternal, Identifier: "https://auth.atlassian.com", Name: "Atlassian",
		ClientID: &b.clientID, ClientSecret: &b.clientSecret,
		Protocols: &store.ProviderProtocols{OAuth2: &store.ProviderOAuth2{
			Issuer: "https://auth.atlassian.com", AuthorizationEndpoint: &authorize, TokenEndpoint: &token,
			AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		}},
	})
	if err != nil {
		return nil, err
	}
	_, err = c.tx.CreateResource(store.Resource{
		Meta: meta, OwnerType: store.OwnerCustomer, ApplicationType: "web", CredentialProviderID: &p.ID,
		Identifier: "https://api.atlassian.com/ex/confluence", Name: "Confluence",
		Scopes: []string{"read:confluence-content.all", "write:confluence-content", "offline_access"},
	})
	return created{}, err
}
