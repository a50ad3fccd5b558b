// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/keycardai/keycard-operator/devzone/seed"
)

// employees are the users of an identity provider.
type employees []*storage.User

func (e employees) GetUserByID(id string) *storage.User {
	return e.find(func(u *storage.User) bool { return u.ID == id })
}

func (e employees) GetUserByUsername(name string) *storage.User {
	return e.find(func(u *storage.User) bool { return u.Username == name })
}

func (e employees) ExampleClientID() string { return "service" }

func (e employees) find(match func(*storage.User) bool) *storage.User {
	for _, u := range e {
		if match(u) {
			return u
		}
	}
	return nil
}

// A person signs in with her company's identity provider, which is another site
// to the browser: cookies have to survive the way there and back.
func TestIdentityProvider(t *testing.T) {
	g := NewWithT(t)
	var provider http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	issuer := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	s := newSeed()
	s.Providers = append(s.Providers, seed.Provider{
		Identifier: issuer, Name: "Company", ClientID: "zone", ClientSecret: "zone-secret",
		OpenID: &seed.ProviderOpenID{UserIdentifierClaim: "email"},
	})
	s.Zone.IdentityProvider = issuer
	z := newZone(t, s)
	z.install()
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	provider = exampleop.SetupServer(issuer, storage.NewStorageWithClients(
		employees{
			{ID: "1", Username: "alice", Password: "secret", Email: "alice@example.com", EmailVerified: true},
			{ID: "2", Username: "zoe", Password: "secret", Email: "zoe@example.com", EmailVerified: true},
		},
		map[string]*storage.Client{"zone": storage.WebClient("zone", "zone-secret", z.ZoneURL+"/oauth/2/redirect")},
	), slog.New(slog.DiscardHandler), false)
	signIn := func(p *visitor, name string) {
		p.open(z.authorize(nil))
		p.sees("Username")
		g.Expect(p.Location()).To(HavePrefix(issuer + "/login/username"))
		p.fill("#username", name)
		p.fill("#password", "secret")
		p.press("button")
	}

	alice := newVisitor(t)
	signIn(alice, "alice")
	alice.sees("Landing page asks for access", "You are signed in as alice@example.com")
	alice.press("button[value=approve]")
	alice.agreeAtAtlassian("alice", acme)
	alice.sees("Back at the application")
	g.Expect(z.redeem(alice.query("code"))).To(HaveKeyWithValue("status_code", 200))
	g.Expect(z.impersonate("alice@example.com")).To(HaveKeyWithValue("status_code", 200))

	zoe := newVisitor(t)
	signIn(zoe, "zoe")
	zoe.sees("Back at the application")
	g.Expect(zoe.query("error")).To(Equal("access_denied"))
	g.Expect(zoe.query("error_description")).To(Equal("This zone admits people by invitation, and zoe@example.com has none."))
}
