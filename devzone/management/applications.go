// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"net/http"
	"net/url"
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
	Metadata          *store.Metadata             `json:"metadata"`
	Protocols         *store.ApplicationProtocols `json:"protocols"`
}

func (s *server) applicationRoutes() {
	collection[store.Application, *store.Application]{
		server: s,
		legacy: true,
		table:  func(tx *store.Tx) *store.Table[store.Application, *store.Application] { return tx.Applications },
		meta:   func(a store.Application) store.Meta { return a.Meta },
		view:   func(tx *store.Tx, a store.Application) any { return s.applicationView(tx, a) },
		read:   readApplication,
		frozen: func(a store.Application) bool { return a.OwnerType == store.OwnerPlatform },
		empty: func(zoneID string) store.Application {
			return store.Application{
				Meta:      store.Meta{ZoneID: zoneID},
				OwnerType: store.OwnerCustomer, Consent: "required",
			}
		},
		filter: filterApplications,
		create: func(tx *store.Tx, a store.Application) (store.Application, error) { return tx.Applications.Insert(a) },
		remove: func(tx *store.Tx, a store.Application) error { return tx.DeleteApplication(a.ZoneID, a.ID) },
	}.routes("applications")
	s.inZone("GET /zones/{zone}/applications/{id}/resources", s.ownedResources)
}

// filterApplications knows that no application here has a trait, because
// neither create nor update takes one.
func filterApplications(q url.Values) (func(store.Application) bool, error) {
	traits := slices.Concat(q["traits"], q["traits[all]"])
	for _, t := range traits {
		if text := isOneOf("gateway", "mcp-provider")(t); text != "" {
			return nil, badRequest("traits: %s", text)
		}
	}
	return func(a store.Application) bool {
		return len(traits) == 0 && equals(q.Get("identifier"), a.Identifier) && equals(q.Get("slug"), a.Slug)
	}, nil
}

func (s *server) applicationView(tx *store.Tx, a store.Application) applicationView {
	dependencies := tx.Dependencies.All(a.ZoneID, func(d store.Dependency) bool { return d.ApplicationID == a.ID })
	return applicationView{
		base:              s.base(a.Meta),
		OwnerType:         a.OwnerType,
		Identifier:        a.Identifier,
		Name:              a.Name,
		Description:       a.Description,
		Consent:           a.Consent,
		DependenciesCount: len(dependencies),
		Metadata:          a.Metadata,
		Protocols:         a.Protocols,
	}
}

func readApplication(_ *store.Tx, o object, a *store.Application, creating bool) {
	o.text("identifier", creating, &a.Identifier, isIdentifier)
	o.text("name", creating, &a.Name, isName)
	o.nullableText("description", &a.Description, isDescription)
	// Both are accepted and without effect.
	get[[]json.RawMessage](o, "dependencies", "an array")
	get[[]string](o, "traits", "an array of strings")
	o.text("consent", false, &a.Consent, isOneOf("implicit", "required"))
	readMetadata(o, &a.Metadata)
	protocols := o.object("protocols")
	if !protocols.set {
		return
	}
	if protocols.null {
		a.Protocols = nil
		return
	}
	oauth2 := protocols.value.object("oauth2")
	if !oauth2.set {
		return
	}
	if oauth2.null {
		a.Protocols = nil
		return
	}
	var next store.ApplicationOAuth2
	if a.Protocols != nil && a.Protocols.OAuth2 != nil {
		next = *a.Protocols.OAuth2
	}
	oauth2.value.list("redirect_uris", &next.RedirectURIs, isNotEmpty)
	oauth2.value.list("post_logout_redirect_uris", &next.PostLogoutRedirectURIs, isNotEmpty)
	a.Protocols = &store.ApplicationProtocols{OAuth2: &next}
}

// ownedResources lists the resources that the application provides.
func (s *server) ownedResources(r *http.Request) (any, error) {
	return listOf(s, r, true, func(tx *store.Tx) ([]item, error) {
		app, err := tx.Applications.Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		var items []item
		for _, res := range tx.Resources.All(app.ZoneID, nil) {
			if deref(res.ApplicationID) == app.ID {
				items = append(items, item{seq: res.Seq, view: s.resourceView(res)})
			}
		}
		return items, nil
	})
}
