// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"slices"
	"strings"

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

// installed answers 201 without a body.
type installed struct{}

// packages is the catalog: Confluence is what this server is about.
var packages = []packageView{{
	ID: "confluence", Name: "Confluence", Description: "The REST API of Confluence Cloud",
	Form: packageForm{Fields: []packageField{
		{Name: "client_id", Label: "Client ID", Required: true}, {Name: "client_secret", Label: "Client secret", Required: true, Secret: true},
	}},
}}

func (s *server) catalogRoutes() {
	const path = "/catalog/zones/{zone}"
	s.inZone("GET "+path+"/packages", s.listPackages)
	s.inZone("GET "+path+"/packages/{id}", s.getPackage)
	s.inZone("POST "+path+"/install", s.install)
}

func (s *server) listPackages(r *http.Request) (any, error) {
	words := r.URL.Query()["query[]"]
	return listOf(s, r, false, func(*store.Tx) ([]item, error) {
		var items []item
		for i, p := range packages {
			text := strings.ToLower(p.ID + " " + p.Name + " " + p.Description)
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) }) {
				items = append(items, item{seq: uint64(i) + 1, view: p})
			}
		}
		return items, nil
	})
}

func findPackage(id string) (packageView, error) {
	i := slices.IndexFunc(packages, func(p packageView) bool { return p.ID == id })
	if i < 0 {
		return packageView{}, &store.NotFoundError{Kind: "package", ID: id}
	}
	return packages[i], nil
}

func (s *server) getPackage(r *http.Request) (any, error) { return findPackage(r.PathValue("id")) }

// install registers provider and resource of a package. It is not idempotent,
// like the hosted service's: a second one is a conflict.
func (s *server) install(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var id, clientID, clientSecret string
	o.text("package_id", true, &id, isNotEmpty)
	fields := o.object("fields")
	fields.value.text("client_id", true, &clientID, isNotEmpty)
	fields.value.text("client_secret", true, &clientSecret, isNotEmpty)
	if err := o.err(); err != nil {
		return nil, err
	}
	if _, err := findPackage(id); err != nil {
		return nil, err
	}
	authorize, token := "https://auth.atlassian.com/authorize", "https://auth.atlassian.com/oauth/token"
	err = s.Store.Do(func(tx *store.Tx) error {
		meta := store.Meta{ZoneID: r.PathValue("zone")}
		p, err := tx.Providers.Insert(store.Provider{
			Meta: meta, OwnerType: store.OwnerCustomer, Type: store.ProviderExternal, Identifier: "https://auth.atlassian.com", Name: "Atlassian",
			ClientID: &clientID, ClientSecret: &clientSecret,
			Protocols: &store.ProviderProtocols{OAuth2: &store.ProviderOAuth2{
				Issuer: "https://auth.atlassian.com", AuthorizationEndpoint: &authorize, TokenEndpoint: &token,
				AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
			}},
		})
		if err != nil {
			return err
		}
		_, err = tx.CreateResource(store.Resource{
			Meta: meta, OwnerType: store.OwnerCustomer, ApplicationType: "web", CredentialProviderID: &p.ID,
			Identifier: "https://api.atlassian.com/ex/confluence", Name: "Confluence",
			Scopes: []string{"read:confluence-content.all", "write:confluence-content", "offline_access"},
		})
		return err
	})
	return installed{}, err
}
