// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

func TestAMissingZoneIsNotAMissingProvider(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("", answer(404, `{"message":"zone not found","code":"not_found","status":404}`))
	_, found, err := management(t, s, options()).FindProvider(context.Background(), "z1", "x")
	g.Expect(found).To(BeFalse())
	g.Expect(keycard.IsNotFound(err)).To(BeTrue())
}

func TestListResourcesByProvider(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("GET /zones/z1/resources", pages(map[string]string{
		"":   pageOf("c1", `{"id":"r1","credential_provider_id":"p1","scopes":["a","b"],"prefix":true},{"id":"r2","credential_provider_id":"p2"}`),
		"c1": pageOf("", `{"id":"r3","credential_provider_id":"p1","scopes":null,"description":null},{"id":"r4","credential_provider_id":null}`),
	}))
	resources, err := management(t, s, options()).ListResourcesByProvider(context.Background(), "z1", "p1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(resources).To(Equal([]keycard.Resource{
		{ID: "r1", CredentialProviderID: "p1", Scopes: []string{"a", "b"}, Prefix: true},
		{ID: "r3", CredentialProviderID: "p1"},
	}))
	query, err := url.ParseQuery(s.requests("/zones/z1/resources")[0].query)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(query.Get("credentialProviderId")).To(Equal("p1"))
}

func TestReadingObjects(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	ctx := context.Background()
	m := management(t, s, options())
	yes := true

	s.on("GET /zones/z1", answer(200, `{"id":"z1","organization_id":"o1","slug":"prod","name":"Prod","description":null,"unknown":{"x":[1]},
		"protocols":{"oauth2":{"issuer":"https://z1.keycard.cloud","authorization_endpoint":"https://z1.keycard.cloud/oauth/2/authorize",
		"token_endpoint":"https://z1.keycard.cloud/oauth/2/token","jwks_uri":"https://z1.keycard.cloud/openidconnect/jwks",
		"redirect_uri":"https://z1.keycard.cloud/oauth/2/redirect","dcr_enabled":true,"pkce_required":true},"openid":{}}}`))
	zone, err := m.GetZone(ctx, "z1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(zone).To(Equal(keycard.Zone{ID: "z1", OrganizationID: "o1", Slug: "prod", Name: "Prod", Protocols: keycard.ZoneProtocols{OAuth2: keycard.ZoneOAuth2{
		Issuer: "https://z1.keycard.cloud", AuthorizationEndpoint: "https://z1.keycard.cloud/oauth/2/authorize",
		TokenEndpoint: "https://z1.keycard.cloud/oauth/2/token", JWKSURI: "https://z1.keycard.cloud/openidconnect/jwks",
		RedirectURI: "https://z1.keycard.cloud/oauth/2/redirect",
	}}}))

	s.on("GET /zones/z1/providers/p1", answer(200, `{"id":"p1","zone_id":"z1","slug":"s","owner_type":"platform","type":"external","identifier":"i","name":"n",
		"description":"d","client_id":"c","client_secret_set":true,"metadata":{"docs_url":"https://docs"},
		"protocols":{"oauth2":{"issuer":"i","authorization_parameters":{"prompt":"consent"},"authorization_resource_enabled":false,"scopes_supported":["a"]},"openid":null}}`))
	p, err := m.GetProvider(ctx, "z1", "p1")
	g.Expect(err).NotTo(HaveOccurred())
	no := false
	g.Expect(p).To(Equal(keycard.Provider{
		ID: "p1", ZoneID: "z1", Slug: "s", OwnerType: keycard.OwnerPlatform, Type: keycard.ProviderTypeExternal, Identifier: "i", Name: "n",
		Description: "d", ClientID: "c", ClientSecretSet: &yes, Metadata: keycard.Metadata{DocsURL: "https://docs"},
		Protocols: keycard.ProviderProtocols{OAuth2: keycard.ProviderOAuth2{
			Issuer: "i", AuthorizationParameters: map[string]string{"prompt": "consent"}, AuthorizationResourceEnabled: &no, ScopesSupported: []string{"a"},
		}},
	}))

	for _, odd := range []string{`null`, `"text"`, `[]`, `{"docs_url":7}`, `{}`} {
		s.on("GET /zones/z1/resources/r1", answer(200, `{"id":"r1","metadata":`+odd+`}`))
		r, err := m.GetResource(ctx, "z1", "r1")
		g.Expect(err).NotTo(HaveOccurred(), odd)
		g.Expect(r).To(Equal(keycard.Resource{ID: "r1"}))
	}

	s.on("GET /zones/z1/applications/a1", answer(200, `{"id":"a1","identifier":"urn:a","consent":"required","protocols":null}`))
	a, err := m.GetApplication(ctx, "z1", "a1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(a).To(Equal(keycard.Application{ID: "a1", Identifier: "urn:a", Consent: "required"}))
}

func TestCreating(t *testing.T) {
	for _, status := range []int{200, 201} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("POST /zones/z1/providers", answer(status, `{"id":"p1"}`))
			s.on("POST /zones/z1/resources", answer(status, `{"id":"r1"}`))
			m := management(t, s, options())

			p, err := m.CreateProvider(context.Background(), "z1", keycard.ProviderCreate{
				Identifier: "https://auth.atlassian.com", Name: "Atlassian", Description: "d", ClientID: "c", ClientSecret: redacted.New(upstreamSecret),
				Metadata: keycard.Metadata{DocsURL: "https://docs"},
				OAuth2:   keycard.ProviderOAuth2{TokenEndpoint: "https://t", AuthorizationParameters: map[string]string{"audience": "api.atlassian.com"}},
			})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(p.ID).To(Equal("p1"))
			sent := s.requests("/zones/z1/providers")[0]
			g.Expect(sent.header.Get("Content-Type")).To(Equal("application/json"))
			g.Expect(sent.json(t)).To(Equal(map[string]any{
				"identifier": "https://auth.atlassian.com", "name": "Atlassian", "description": "d", "client_id": "c", "client_secret": upstreamSecret,
				"metadata":  map[string]any{"docs_url": "https://docs"},
				"protocols": map[string]any{"oauth2": map[string]any{"token_endpoint": "https://t", "authorization_parameters": map[string]any{"audience": "api.atlassian.com"}}},
			}))

			r, err := m.CreateResource(context.Background(), "z1", keycard.ResourceCreate{Identifier: "i", Name: "n", CredentialProviderID: "p1", Scopes: []string{"a"}})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(r.ID).To(Equal("r1"))
			g.Expect(s.requests("/zones/z1/resources")[0].json(t)).To(Equal(map[string]any{
				"identifier": "i", "name": "n", "credential_provider_id": "p1", "scopes": []any{"a"},
			}))
		})
	}
	t.Run("as little as possible", func(t *testing.T) {
		g := NewWithT(t)
		s := newAPI(t)
		s.on("POST /zones/z1/providers", answer(200, `{"id":"p1"}`))
		_, err := management(t, s, options()).CreateProvider(context.Background(), "z1", keycard.ProviderCreate{Identifier: "i", Name: "n"})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(s.requests("/zones/z1/providers")[0].body).To(Equal(`{"identifier":"i","name":"n"}`))
	})
	t.Run("without what is required", func(t *testing.T) {
		g := NewWithT(t)
		s := newAPI(t)
		m := management(t, s, options())
		_, err := m.CreateProvider(context.Background(), "z1", keycard.ProviderCreate{Identifier: "i"})
		g.Expect(err).To(MatchError("creating the provider: the identifier or name is empty"))
		_, err = m.CreateResource(context.Background(), "z1", keycard.ResourceCreate{Name: "n"})
		g.Expect(err).To(MatchError("creating the resource: the identifier or name is empty"))
		_, _, err = m.FindProvider(context.Background(), "z1", "")
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		_, _, err = m.FindResource(context.Background(), "z1", "")
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		_, _, err = m.FindApplication(context.Background(), "z1", "")
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		_, err = m.ListUsersByEmail(context.Background(), "z1", "")
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		_, err = m.ListResourcesByProvider(context.Background(), "z1", "")
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		g.Expect(s.requests("")).To(BeEmpty())
	})
}

func TestPatching(t *testing.T) {
	providers := map[string]struct {
		patch keycard.ProviderPatch
		want  string
		zero  bool
	}{
		"nothing":        {keycard.ProviderPatch{}, `{}`, true},
		"a value":        {keycard.ProviderPatch{Name: keycard.Set("n")}, `{"name":"n"}`, false},
		"the empty text": {keycard.ProviderPatch{Name: keycard.Set("")}, `{"name":""}`, false},
		"null":           {keycard.ProviderPatch{Description: keycard.Null[string]()}, `{"description":null}`, false},
		"a secret":       {keycard.ProviderPatch{ClientSecret: keycard.Set(redacted.New(upstreamSecret))}, `{"client_secret":"` + upstreamSecret + `"}`, false},
		"no more secret": {keycard.ProviderPatch{ClientSecret: keycard.Null[redacted.String]()}, `{"client_secret":null}`, false},
		"metadata":       {keycard.ProviderPatch{Metadata: keycard.Set(keycard.Metadata{DocsURL: "u"})}, `{"metadata":{"docs_url":"u"}}`, false},
		"oauth settings": {
			keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{
				TokenEndpoint:           keycard.Null[string](),
				AuthorizationParameters: keycard.Set(map[string]string{"prompt": "consent"}),
			}},
			`{"protocols":{"oauth2":{"token_endpoint":null,"authorization_parameters":{"prompt":"consent"}}}}`, false,
		},
	}
	for name, tc := range providers {
		t.Run("provider/"+name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("PATCH /zones/z1/providers/p1", answer(200, `{"id":"p1","name":"after"}`))
			p, err := management(t, s, options()).PatchProvider(context.Background(), "z1", "p1", tc.patch)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(p.Name).To(Equal("after"))
			g.Expect(s.requests("/zones/z1/providers/p1")[0].body).To(Equal(tc.want))
			g.Expect(tc.patch.IsZero()).To(Equal(tc.zero))
		})
	}
	resources := map[string]struct {
		patch keycard.ResourcePatch
		want  string
		zero  bool
	}{
		"nothing":     {keycard.ResourcePatch{}, `{}`, true},
		"scopes":      {keycard.ResourcePatch{Scopes: keycard.Set([]string{"a", "b"})}, `{"scopes":["a","b"]}`, false},
		"no scopes":   {keycard.ResourcePatch{Scopes: keycard.Set([]string{})}, `{"scopes":[]}`, false},
		"null scopes": {keycard.ResourcePatch{Scopes: keycard.Null[[]string]()}, `{"scopes":null}`, false},
		"provider":    {keycard.ResourcePatch{CredentialProviderID: keycard.Set("p2"), ApplicationID: keycard.Null[string]()}, `{"application_id":null,"credential_provider_id":"p2"}`, false},
	}
	for name, tc := range resources {
		t.Run("resource/"+name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("PATCH /zones/z1/resources/r1", answer(200, `{"id":"r1"}`))
			_, err := management(t, s, options()).PatchResource(context.Background(), "z1", "r1", tc.patch)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(s.requests("/zones/z1/resources/r1")[0].body).To(Equal(tc.want))
			g.Expect(tc.patch.IsZero()).To(Equal(tc.zero))
		})
	}
}

func TestDeletingAndDependencies(t *testing.T) {
	ctx := context.Background()
	deletes := map[string]func(*keycard.ManagementClient) error{
		"/zones/z1/providers/p1":                    func(m *keycard.ManagementClient) error { return m.DeleteProvider(ctx, "z1", "p1") },
		"/zones/z1/resources/r1":                    func(m *keycard.ManagementClient) error { return m.DeleteResource(ctx, "z1", "r1") },
		"/zones/z1/applications/a1/dependencies/r1": func(m *keycard.ManagementClient) error { return m.DeleteDependency(ctx, "z1", "a1", "r1") },
	}
	answers := map[string]struct {
		answer http.HandlerFunc
		ok     bool
	}{
		"deleted":          {answer(204, ""), true},
		"archived":         {answer(200, `{"id":"x"}`), true},
		"gone":             {answer(404, `{"message":"not found","code":"not_found","status":404}`), true},
		"a web page's 404": {answer(404, `<html>`, "Content-Type", "text/html"), false},
		"refused":          {answer(403, `{"message":"platform owned"}`), false},
		"in use":           {answer(409, `{"message":"in use"}`), false},
		"broken":           {answer(500, ``), false},
	}
	for path, remove := range deletes {
		for name, tc := range answers {
			t.Run(name+path, func(t *testing.T) {
				g := NewWithT(t)
				s := newAPI(t)
				s.on("DELETE "+path, tc.answer)
				err := remove(management(t, s, options()))
				g.Expect(err == nil).To(Equal(tc.ok), "%v", err)
				g.Expect(s.requests(path)).To(HaveLen(1))
			})
		}
	}
	t.Run("put", func(t *testing.T) {
		g := NewWithT(t)
		s := newAPI(t)
		const path = "/zones/z1/applications/a1/dependencies/r1"
		s.on("PUT "+path, answer(204, ""))
		g.Expect(management(t, s, options()).PutDependency(ctx, "z1", "a1", "r1")).To(Succeed())
		sent := s.requests(path)[0]
		g.Expect(sent.body).To(Equal(`{}`))
		g.Expect(sent.header.Get("Content-Type")).To(Equal("application/json"))
	})
	t.Run("list", func(t *testing.T) {
		g := NewWithT(t)
		s := newAPI(t)
		s.on("GET /zones/z1/applications/a1/dependencies", answer(200, pageOf("", `{"id":"r1"},{"id":"r2"}`)))
		resources, err := management(t, s, options()).ListDependencies(ctx, "z1", "a1")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(resources).To(HaveLen(2))
	})
}

func TestGrantsUsersAndApplications(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	ctx := context.Background()
	m := management(t, s, options())

	s.on("GET /zones/z1/delegated-grants", answer(200, pageOf("",
		`{"id":"g1","user_id":"u1","resource_id":"r1","provider_id":"p1","scopes":["a"],"status":"active","refresh_token_set":true},
		 {"id":"g2","user_id":"u2","resource_id":"r1","status":"active"},{"id":"g3","user_id":"u1","resource_id":"r1","status":"revoked"}`)))
	grants, err := m.ListGrants(ctx, "z1", keycard.GrantFilter{UserID: "u1", ResourceID: "r1", Status: keycard.GrantActive})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(grants).To(Equal([]keycard.Grant{
		{ID: "g1", UserID: "u1", ResourceID: "r1", ProviderID: "p1", Scopes: []string{"a"}, Status: "active", RefreshTokenSet: true},
	}))
	query, err := url.ParseQuery(s.requests("/zones/z1/delegated-grants")[0].query)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(query).To(Equal(url.Values{"user_id": {"u1"}, "resource_id": {"r1"}, "status": {"active"}, "limit": {"100"}}))
	grants, err = m.ListGrants(ctx, "z1", keycard.GrantFilter{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(grants).To(HaveLen(3))

	s.on("GET /zones/z1/users", answer(200, pageOf("",
		`{"id":"u1","identifier":"uid-1","email":"Alice@Example.com","email_verified":true},{"id":"u2","email":"bob@example.com"}`)))
	users, err := m.ListUsersByEmail(ctx, "z1", "alice@example.com")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(users).To(Equal([]keycard.User{{ID: "u1", Identifier: "uid-1", Email: "Alice@Example.com", EmailVerified: true}}))
	query, err = url.ParseQuery(s.requests("/zones/z1/users")[0].query)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(query.Get("filter[email]")).To(Equal("alice@example.com"))

	s.on("GET /zones/z1/users/u1", answer(200, `{"id":"u1","identifier":"uid-1","email":"Alice@Example.com","email_verified":true}`))
	user, err := m.GetUser(ctx, "z1", "u1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(user).To(Equal(users[0]))

	s.on("GET /zones/z1/applications", answer(200, pageOf("", `{"id":"a0","identifier":"urn:app:report"},{"id":"a1","identifier":"urn:app:reports"}`)))
	app, found, err := m.FindApplication(ctx, "z1", "urn:app:reports")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeTrue())
	g.Expect(app.ID).To(Equal("a1"))

	s.on("GET /zones/z1/resources", answer(200, pageOf("", `{"id":"r1","identifier":"https://api.atlassian.com/ex/confluence"}`)))
	r, found, err := m.FindResource(ctx, "z1", "https://api.atlassian.com/ex/confluence")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeTrue())
	g.Expect(r.ID).To(Equal("r1"))
}
