// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package seed_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/seed"
)

func TestDefault(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	parsed, err := seed.Parse(seed.DefaultYAML())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed).To(Equal(s))
	g.Expect(s.Zone.ID).To(Equal("zn-demo"))
	g.Expect(s.Atlassian.Sites).To(HaveLen(1))
	g.Expect(s.Atlassian.Sites[0].Spaces).To(HaveLen(2))
	pages := 0
	for _, sp := range s.Atlassian.Sites[0].Spaces {
		pages += len(sp.Pages)
	}
	g.Expect(pages).To(Equal(30))
}

func TestWithIssuer(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	s.Resources = []seed.Resource{{Identifier: "{issuer}/events", Name: "Events"}}
	s.Applications[0].Dependencies = append(s.Applications[0].Dependencies, "{issuer}/events")
	got := s.WithIssuer("https://zn.example")
	g.Expect(got.Atlassian.Apps[0].Callback).To(Equal("https://zn.example/oauth/2/redirect"))
	g.Expect(got.Resources[0].Identifier).To(Equal("https://zn.example/events"))
	g.Expect(got.Applications[0].Dependencies).To(ContainElement("https://zn.example/events"))
	g.Expect(s.Atlassian.Apps[0].Callback).To(HavePrefix("{issuer}"), "the original is unchanged")
	g.Expect(s.Applications[0].Dependencies).To(ContainElement("{issuer}/events"))
}

func TestParseErrors(t *testing.T) {
	text := string(seed.DefaultYAML())
	tests := map[string]struct{ old, new, want string }{
		"unknown field":           {"  name: Development zone", "  name: Development zone\n  nmae: x", `unknown field "nmae"`},
		"unknown nested field":    {"client_id: operator", "client_id: operator\n    secret: x", `unknown field "secret"`},
		"duplicate key":           {"  name: Development zone", "  name: Development zone\n  name: x", `key "name" already set`},
		"wrong type":              {"id: zn-demo", "id: [zn-demo]", "zone.id"},
		"not yaml":                {"zone:", "zone: {", "parsing seed"},
		"zone id":                 {"id: zn-demo", "id: Zn_Demo", "zone.id: must be a DNS label"},
		"zone name":               {"  name: Development zone", "  name: \"\"", "zone.name: is required"},
		"account secret":          {"    client_secret: dev-only-operator-secret\n", "", "serviceAccounts[0].client_secret: is required"},
		"account id":              {"client_id: operator", "client_id: \"\"", "serviceAccounts[0].client_id: is required"},
		"account role":            {"client_id: operator", "client_id: operator\n    role: admin", "serviceAccounts[0].role: must be zone_manager or zone_viewer"},
		"user email":              {"    email: alice@example.com\n", "    email: alice\n", "users[0].email: must be an e-mail address"},
		"user twice":              {"- identifier: bob@example.com", "- identifier: alice@example.com", "users[1].identifier: \"alice@example.com\" is there twice"},
		"two passwords":           {"    password: dev-only-alice-password\n", "    password: x\n    passwordHash: y\n", "users[0].passwordHash: must not be there together with password"},
		"long password":           {"password: dev-only-alice-password", "password: " + strings.Repeat("x", 73), "users[0].password: must be at most 72 bytes long"},
		"password hash":           {"password: dev-only-alice-password", "passwordHash: plain", "users[0].passwordHash: is no bcrypt hash"},
		"identity provider":       {"  name: Development zone", "  name: Development zone\n  identityProvider: p", `zone.identityProvider: "p" is not in providers`},
		"identity client":         {"zone:", "providers: [{identifier: p, name: P}]\nzone:\n  identityProvider: p", "providers[0].client_id: is required, because zone.identityProvider names the provider"},
		"redirect URI":            {"    consent: implicit", "    consent: implicit\n    redirectURIs: [callback]", `applications[0].redirectURIs[0]: must be an absolute URL without a fragment, got "callback"`},
		"redirect URI, fragment":  {"    consent: implicit", "    consent: implicit\n    redirectURIs: [\"https://a.example/#x\"]", "applications[0].redirectURIs[0]: must be an absolute URL without a fragment"},
		"consent site":            {"sites: [https://acme.atlassian.net]", "sites: [https://other.atlassian.net]", "users[0].consents[0].sites: alice@example.com is no member"},
		"consent resource":        {"      - resource: https://api.atlassian.com/ex/confluence\n        sites", "      - sites", "users[0].consents[0].resource: is required"},
		"application name":        {"    name: Reports\n", "", "applications[0].name: is required"},
		"application consent":     {"consent: implicit", "consent: explicit", "applications[0].consent: must be implicit or required"},
		"credential type":         {"type: password", "type: token", "applications[0].credentials[0].type: must be password or public"},
		"credential id":           {"        identifier: reports\n", "", "applications[0].credentials[0].identifier: is required"},
		"credential password":     {"        password: dev-only-reports-password\n", "", "applications[0].credentials[0].password: is required"},
		"impersonation":           {"mayImpersonate: [alice@example.com", "mayImpersonate: [zoe@example.com", `applications[0].mayImpersonate[0]: "zoe@example.com" is not the identifier`},
		"application grant":       {"mayImpersonate:", "grants: [{resource: r}]\n    mayImpersonate:", "applications[0].grants[0].account: is required"},
		"resource provider":       {"applications:", "resources: [{identifier: r, name: R, provider: p}]\napplications:", `resources[0].provider: "p" is not in providers`},
		"resource application":    {"applications:", "resources: [{identifier: r, name: R, application: p}]\napplications:", `resources[0].application: "p" is not in applications`},
		"bad Cedar":               {"applications:", "policies: [{name: x, cedar: permit}]\napplications:", `policies[0].cedar: policy "x" is not a Cedar policy: parser error: parse error at <input>:1:7`},
		"policy name":             {"applications:", "policies: [{cedar: x}]\napplications:", "policies[0].name: is required"},
		"policy name taken":       {"applications:", "policies: [{name: seed-impersonation, cedar: x}]\napplications:", "policies[0].name: seed-impersonation is the policy that mayImpersonate makes"},
		"policy name, platform":   {"applications:", "policies: [{name: default-user-grants, cedar: x}]\napplications:", "policies[0].name: default-user-grants is a policy of the platform's; choose another name"},
		"resource name":           {"applications:", "resources: [{identifier: r}]\napplications:", "resources[0].name: is required"},
		"provider name":           {"applications:", "providers: [{identifier: r}]\napplications:", "providers[0].name: is required"},
		"provider twice":          {"applications:", "providers: [{identifier: r, name: R}, {identifier: r, name: R}]\napplications:", "providers[1].identifier"},
		"atlassian member":        {"members: [alice@example.com, bob@example.com", "members: [alice@example.com, bob@example.org", `atlassian.sites[0].members: no user has the email "bob@example.org"`},
		"atlassian callback":      {`callback: "{issuer}/oauth/2/redirect"`, "callback: nowhere", "atlassian.apps[0].callback"},
		"atlassian unknown field": {"cloudId:", "cloud_id:", `unknown field "cloud_id"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(text).To(ContainSubstring(tt.old), "the test fits the seed")
			_, err := seed.Parse([]byte(strings.Replace(text, tt.old, tt.new, 1)))
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(err.Error()).NotTo(ContainSubstring("dev-only"))
		})
	}
}
