// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/testenv/person"
)

const (
	confluence = "https://api.atlassian.com/ex/confluence"
	verifier   = "a-code-verifier-that-is-long-enough-for-anybody"
	acme       = "11111111-2222-4333-8444-555555555555"
	umbrella   = "99999999-2222-4333-8444-555555555555"
)

// clock can be moved.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// zone is a development zone with an application that people sign in to.
type zone struct {
	*devzone.Running
	*clock
	t *testing.T
	// application is where the browser comes back to, at any port.
	application string
	token       string
}

// newSeed is the default one, with nobody who has agreed yet, two sites, a
// person without any, and two public applications.
func newSeed() *seed.Seed {
	s := seed.Default()
	for i := range s.Users {
		s.Users[i].Consents = nil
	}
	s.Users = append(s.Users, seed.User{Email: "dora@example.com", Password: "dev-only-dora-password"})
	s.Atlassian.Users = append(s.Atlassian.Users, atlassian.User{AccountID: "d0", Email: "dora@example.com", Name: "Dora Example"})
	s.Atlassian.Sites = append(s.Atlassian.Sites, atlassian.Site{
		CloudID: umbrella, URL: "https://umbrella.atlassian.net", Name: "umbrella", Members: []string{"alice@example.com"},
	})
	s.Applications = append(s.Applications,
		seed.Application{
			Identifier: "landing", Name: "Landing page", RedirectURIs: []string{"http://127.0.0.1/callback"},
			Credentials: []seed.Credential{{Type: "public", Identifier: "landing"}}, Dependencies: []string{confluence},
		},
		seed.Application{
			Identifier: "bare", Name: "Bare application",
			Credentials: []seed.Credential{{Type: "public", Identifier: "bare"}}, Dependencies: []string{confluence},
		})
	return s
}

func newZone(t *testing.T, s *seed.Seed) *zone {
	t.Helper()
	z := &zone{t: t, clock: &clock{}}
	var err error
	if z.Running, err = devzone.Start(t.Context(), devzone.Config{Seed: s, Clock: z.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	// Like an application that has its pages on another origin than its callback.
	const elsewhere = "/elsewhere"
	var app *httptest.Server
	app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("state") == "elsewhere" && r.URL.Path != elsewhere {
			http.Redirect(w, r, strings.Replace(app.URL, "127.0.0.1", "localhost", 1)+elsewhere, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>app</title><h1>Back at the application</h1>")
	}))
	t.Cleanup(app.Close)
	z.application = app.URL + "/callback"
	z.token = z.form(z.APIURL+"/service-account-token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"operator"}, "client_secret": {"dev-only-operator-secret"},
	})["access_token"].(string)
	return z
}

func (z *zone) send(req *http.Request) map[string]any {
	z.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		z.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		z.t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		z.t.Fatalf("%s %s: %d %s", req.Method, req.URL, resp.StatusCode, raw)
	}
	out["status_code"] = resp.StatusCode
	return out
}

func (z *zone) form(target string, values url.Values) map[string]any {
	z.t.Helper()
	req, err := http.NewRequest(http.MethodPost, target, bytes.NewBufferString(values.Encode()))
	if err != nil {
		z.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return z.send(req)
}

func (z *zone) api(method, path string, body any) map[string]any {
	z.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		z.t.Fatal(err)
	}
	req, err := http.NewRequest(method, z.APIURL+"/zones/"+z.ZoneID+path, bytes.NewReader(raw))
	if err != nil {
		z.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+z.token)
	req.Header.Set("Content-Type", "application/json")
	return z.send(req)
}

// install registers the Atlassian app and Confluence, as the operator does.
func (z *zone) install() {
	z.t.Helper()
	provider := z.api("POST", "/providers", map[string]any{
		"identifier": "https://auth.atlassian.com", "name": "Atlassian",
		"client_id": "atlassian-app", "client_secret": "dev-only-atlassian-secret",
		"protocols": map[string]any{"oauth2": map[string]any{
			"authorization_endpoint": "https://auth.atlassian.com/authorize", "token_endpoint": "https://auth.atlassian.com/oauth/token",
			"authorization_parameters": map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		}},
	})
	z.api("POST", "/resources", map[string]any{
		"identifier": confluence, "name": "Confluence", "credential_provider_id": provider["id"],
		"scopes": []string{"read:confluence-content.all", "read:confluence-space.summary", "offline_access"},
	})
}

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorize is the address at which an application sends people to the zone.
func (z *zone) authorize(change url.Values) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"landing"}, "redirect_uri": {z.application}, "state": {"st&te"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "scope": {"openid email"}, "resource": {confluence},
	}
	for name, values := range change {
		q[name] = values
	}
	return z.ZoneURL + "/oauth/2/authorize?" + q.Encode()
}

// redeem exchanges the code that came back.
func (z *zone) redeem(code string) map[string]any {
	z.t.Helper()
	return z.form(z.ZoneURL+"/oauth/2/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"landing"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {z.application},
	})
}

// impersonate asks for a Confluence token as the seeded application.
func (z *zone) impersonate(user string) map[string]any {
	z.t.Helper()
	part := base64.RawURLEncoding.EncodeToString
	subject := part([]byte(`{"typ":"vnd.kc.su+jwt","alg":"none"}`)) + "." + part(fmt.Appendf(nil, `{"sub":%q}`, user)) + "."
	return z.form(z.ZoneURL+"/oauth/2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "resource": {confluence},
		"subject_token": {subject}, "subject_token_type": {"urn:keycard:params:oauth:token-type:substitute-user"},
		"client_id": {"reports"}, "client_secret": {"dev-only-reports-password"},
	})
}

// sites are the sites that a token opens.
func (z *zone) sites(token string) []string {
	z.t.Helper()
	req, err := http.NewRequest(http.MethodGet, z.AtlassianURL+"/oauth/token/accessible-resources", nil)
	if err != nil {
		z.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		z.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list []struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		z.t.Fatal(err)
	}
	out := []string{}
	for _, site := range list {
		out = append(out, site.ID)
	}
	return out
}

// grants are the delegated grants of the zone.
func (z *zone) grants() []any {
	z.t.Helper()
	return z.api("GET", "/delegated-grants", nil)["items"].([]any)
}

// known is somebody of the seed.
func known(name string) person.Person {
	return person.Person{Email: name + "@example.com", Password: "dev-only-" + name + "-password"}
}

// signIn fills in the zone's login page.
func (p *visitor) signIn(name string) {
	p.t.Helper()
	p.must(known(name).SignIn(p))
}

// agreeAtAtlassian chooses account and sites on Atlassian's page.
func (p *visitor) agreeAtAtlassian(name string, sites ...string) {
	p.t.Helper()
	p.must(known(name).AgreeAtAtlassian(p, sites...))
}

// pages is the status of reading a site's pages with a token.
func (z *zone) pages(site, token string) int {
	z.t.Helper()
	req, err := http.NewRequest(http.MethodGet, z.AtlassianURL+"/ex/confluence/"+site+"/wiki/api/v2/pages", nil)
	if err != nil {
		z.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		z.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
