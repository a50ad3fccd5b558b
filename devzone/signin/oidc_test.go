// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// people are those of the identity provider, by id.
type people map[string]*storage.User

func (p people) GetUserByID(id string) *storage.User { return p[id] }

func (p people) GetUserByUsername(name string) *storage.User {
	for _, u := range p {
		if u.Username == name {
			return u
		}
	}
	return nil
}

func (p people) ExampleClientID() string { return "service" }

// federation is a zone that signs people in with an independent OpenID provider
// (github.com/zitadel/oidc), and an application; all speak real HTTP.
type federation struct {
	*devzone.Running
	t           *testing.T
	issuer      string
	application string
	people      people
	token       string
}

func newFederation(t *testing.T, change func(*seed.Seed)) *federation {
	t.Helper()
	f := &federation{t: t, people: people{
		"id-alice":  {ID: "id-alice", Username: "alice", Password: "secret", Email: "alice@example.com", EmailVerified: true},
		"id-alice2": {ID: "id-alice2", Username: "alice2", Password: "secret", Email: "alice@example.com", EmailVerified: true},
		"id-zoe":    {ID: "id-zoe", Username: "zoe", Password: "secret", Email: "zoe@example.com", EmailVerified: true},
		"id-bob":    {ID: "id-bob", Username: "bob", Password: "secret", Email: "bob@example.com"},
		"id-nemo":   {ID: "id-nemo", Username: "nemo", Password: "secret"},
	}}
	// The provider has to know the zone's redirect URI, and the zone the provider's
	// issuer.
	var provider http.Handler
	f.issuer = serve(t, func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) })
	f.application = serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "application") }) + "/callback"
	f.start(change)
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	clients := map[string]*storage.Client{"zone": storage.WebClient("zone", "zone-secret", f.ZoneURL+"/oauth/2/redirect")}
	provider = exampleop.SetupServer(f.issuer, storage.NewStorageWithClients(f.people, clients), slog.New(slog.DiscardHandler), false)
	return f
}

func serve(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func (f *federation) start(change func(*seed.Seed)) {
	f.t.Helper()
	s := seed.Default()
	s.Providers = []seed.Provider{{
		Identifier: f.issuer, Name: "Company", ClientID: "zone", ClientSecret: "zone-secret",
		OpenID: &seed.ProviderOpenID{UserIdentifierClaim: "email"},
	}}
	s.Zone.IdentityProvider = f.issuer
	s.Zone.RequiresInvitation = new(bool)
	s.Applications = append(s.Applications, seed.Application{
		Identifier: "app", Name: "App", Consent: "implicit", RedirectURIs: []string{f.application},
		Credentials: []seed.Credential{{Type: "public", Identifier: "app"}},
	}, seed.Application{
		Identifier: "bare", Name: "Bare", Consent: "implicit", Credentials: []seed.Credential{{Type: "public", Identifier: "bare"}},
	})
	if change != nil {
		change(s)
	}
	var err error
	if f.Running, err = devzone.Start(f.t.Context(), devzone.Config{Seed: s}); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = f.Close() })
	f.token = f.json(http.MethodPost, f.APIURL+"/service-account-token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"operator"}, "client_secret": {"dev-only-operator-secret"},
	}.Encode())["access_token"].(string)
}

func (f *federation) json(method, target, body string) map[string]any {
	f.t.Helper()
	req, err := http.NewRequest(method, target, bytes.NewBufferString(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if f.token != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s %s: %d %v %v", method, target, resp.StatusCode, out, err)
	}
	return out
}

// users are those of the zone, by e-mail address.
func (f *federation) users() map[string]map[string]any {
	f.t.Helper()
	out := map[string]map[string]any{}
	for _, u := range f.json(http.MethodGet, f.APIURL+"/zones/"+f.ZoneID+"/users", "")["items"].([]any) {
		user := u.(map[string]any)
		out[user["email"].(string)] = user
	}
	return out
}

// visit is where a person's browser is.
type visit struct {
	at   *url.URL
	body string
}

// visitor is a person's browser.
type visitor struct {
	*federation
	*http.Client
}

func (f *federation) visitor() visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return visitor{f, &http.Client{Jar: jar}}
}

func (v visitor) got(resp *http.Response, err error) visit {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return visit{resp.Request.URL, html.UnescapeString(string(body))}
}

func (v visitor) authorize(change url.Values) visit {
	v.t.Helper()
	q := query(url.Values{"client_id": {"app"}, "redirect_uri": {v.application}})
	for name, values := range change {
		q[name] = values
		if values == nil {
			delete(q, name)
		}
	}
	return v.got(v.Get(v.ZoneURL + "/oauth/2/authorize?" + q.Encode()))
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn fills in the provider's login page.
func (v visitor) signIn(at visit, name string) visit {
	v.t.Helper()
	if !strings.HasPrefix(at.at.String(), v.issuer+"/login/username") {
		v.t.Fatalf("not at the provider but at %s: %s", at.at, at.body)
	}
	id := requestID.FindStringSubmatch(at.body)[1]
	return v.got(v.PostForm(v.issuer+"/login/username", url.Values{"id": {id}, "username": {name}, "password": {"secret"}}))
}

// expect checks that the person is back at the application, with the error or,
// if there is none, with a code.
func (v visitor) expect(at visit, code, text string) {
	v.t.Helper()
	g := NewWithT(v.t)
	g.Expect(at.at.String()).To(HavePrefix(v.application+"?"), at.body)
	q := at.at.Query()
	g.Expect(q.Get("error")).To(Equal(code), q.Get("error_description"))
	g.Expect(q.Get("error_description")).To(ContainSubstring(text))
	g.Expect(q.Has("code")).To(Equal(code == ""))
	g.Expect(q.Get("state")).To(Equal("st&te"))
}

func TestFederation(t *testing.T) {
	g := NewWithT(t)
	f := newFederation(t, nil)
	zoe := f.visitor()
	zoe.expect(zoe.signIn(zoe.authorize(nil), "zoe"), "", "")
	g.Expect(f.users()["zoe@example.com"]).To(And(
		HaveKeyWithValue("identifier", "zoe@example.com"), HaveKeyWithValue("issuer", f.issuer), HaveKeyWithValue("subject", "id-zoe"),
		HaveKeyWithValue("email_verified", true), HaveKey("provider_id"), HaveKey("authenticated_at")))
	id := f.users()["zoe@example.com"]["id"]

	// She is signed in, until she is asked to prove it again.
	zoe.expect(zoe.authorize(nil), "", "")
	zoe.expect(zoe.authorize(url.Values{"prompt": {"none"}}), "", "")
	f.people["id-zoe"].Email = "zoe@example.org"
	again := zoe.authorize(url.Values{"prompt": {"login"}})
	zoe.expect(zoe.signIn(again, "zoe"), "", "")
	g.Expect(f.users()).To(HaveKeyWithValue("zoe@example.org", And(HaveKeyWithValue("id", id),
		HaveKeyWithValue("identifier", "zoe@example.com"))), "the address follows the provider's, the identifier stays")

	// A person of the seed is taken over by her verified address only.
	alice := f.visitor()
	before := f.users()["alice@example.com"]["id"]
	alice.expect(alice.signIn(alice.authorize(nil), "alice"), "", "")
	g.Expect(f.users()["alice@example.com"]).To(And(HaveKeyWithValue("id", before), HaveKeyWithValue("subject", "id-alice")))
	bob := f.visitor()
	bob.expect(bob.signIn(bob.authorize(nil), "bob"), "server_error", "The identity provider did not sign the person in.")

	// Nor by another account with her address.
	impostor := f.visitor()
	impostor.expect(impostor.signIn(impostor.authorize(nil), "alice2"), "server_error", "The identity provider did not sign the person in.")
	g.Expect(f.users()["alice@example.com"]).To(HaveKeyWithValue("subject", "id-alice"))

	nemo := f.visitor()
	nemo.expect(nemo.signIn(nemo.authorize(nil), "nemo"), "server_error", "The identity provider did not sign the person in.")
}

func TestFederationWithoutIdentifierClaim(t *testing.T) {
	g := NewWithT(t)
	f := newFederation(t, func(s *seed.Seed) { s.Providers[0].OpenID = nil })
	bob := f.visitor()
	bob.expect(bob.signIn(bob.authorize(nil), "bob"), "", "")
	count := 0
	for _, u := range f.json(http.MethodGet, f.APIURL+"/zones/"+f.ZoneID+"/users", "")["items"].([]any) {
		user := u.(map[string]any)
		if user["subject"] == "id-bob" {
			count++
			g.Expect(user["identifier"]).To(Equal(user["id"]))
			g.Expect(user["email_verified"]).To(BeFalse())
		}
	}
	g.Expect(count).To(Equal(1), "the provider does not vouch for the address: he is not the bob who was there")
}

func TestInvitation(t *testing.T) {
	g := NewWithT(t)
	f := newFederation(t, func(s *seed.Seed) { s.Zone.RequiresInvitation = nil })
	zoe := f.visitor()
	const refusal = "This zone admits people by invitation, and zoe@example.com has none."
	zoe.expect(zoe.signIn(zoe.authorize(nil), "zoe"), "access_denied", refusal)
	page := zoe.authorize(url.Values{"client_id": {"bare"}, "redirect_uri": nil})
	g.Expect(zoe.signIn(page, "zoe").body).To(ContainSubstring(refusal))
	g.Expect(f.users()).NotTo(HaveKey("zoe@example.com"))
	alice := f.visitor()
	alice.expect(alice.signIn(alice.authorize(nil), "alice"), "", "")
}

// The management API chooses who signs people in.
func TestChoiceOfIdentityProvider(t *testing.T) {
	g := NewWithT(t)
	f := newFederation(t, func(s *seed.Seed) { s.Zone.IdentityProvider = "" })
	zone := f.APIURL + "/zones/" + f.ZoneID
	v := f.visitor()
	page := v.authorize(nil)
	g.Expect(page.body).To(ContainSubstring(`name="password"`))
	g.Expect(page.at.Host).To(Equal(strings.TrimPrefix(f.ZoneURL, "http://")))
	provider := f.json(http.MethodGet, zone+"/providers?identifier="+url.QueryEscape(f.issuer), "")["items"].([]any)[0].(map[string]any)["id"].(string)
	f.json(http.MethodPatch, zone, `{"user_identity_provider_id":"`+provider+`"}`)
	// The page from before does not get anybody in.
	id := regexp.MustCompile(`name="i" value="([^"]+)"`).FindStringSubmatch(page.body)[1]
	refused := v.got(v.PostForm(f.ZoneURL+"/login", url.Values{"i": {id}, "identifier": {"alice@example.com"}, "password": {"dev-only-alice-password"}}))
	g.Expect(refused.body).To(ContainSubstring("This zone signs people in with an identity provider."))
	v.expect(v.signIn(v.authorize(nil), "alice"), "", "")
	f.json(http.MethodPatch, zone, `{"user_identity_provider_id":null}`)
	g.Expect(v.authorize(url.Values{"prompt": {"login"}}).body).To(ContainSubstring(`name="password"`))
}

// The scopes of the provider object take the place of the usual ones: without email the provider
// does not send the claim that names users.
func TestScopesOfTheIdentityProvider(t *testing.T) {
	f := newFederation(t, nil)
	zone := f.APIURL + "/zones/" + f.ZoneID
	provider := f.json(http.MethodGet, zone+"/providers?identifier="+url.QueryEscape(f.issuer), "")["items"].([]any)[0].(map[string]any)["id"].(string)
	for scope, refusal := range map[string]string{"profile": "server_error", "email": ""} {
		f.json(http.MethodPatch, zone+"/providers/"+provider, `{"protocols":{"openid":{"scopes":["`+scope+`"]}}}`)
		v := f.visitor()
		v.expect(v.signIn(v.authorize(nil), "zoe"), refusal, "")
	}
}

func TestIdentityProviderIsDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	f := newFederation(t, func(s *seed.Seed) { s.Providers[0].Identifier, s.Zone.IdentityProvider = gone.URL, gone.URL })
	v := f.visitor()
	v.expect(v.authorize(nil), "server_error", "The identity provider did not sign the person in.")
}
