// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Until the redirect URI is beyond doubt a fault is shown on a page.
func TestRequestsThatEndOnAPage(t *testing.T) {
	s := newSite(t)
	long := strings.Repeat("x", 4097)
	tests := map[string]struct {
		change url.Values
		want   string
	}{
		"no client":              {url.Values{"client_id": nil}, "client_id is missing"},
		"unknown client":         {url.Values{"client_id": {"nobody"}}, "no application of this zone has this client_id"},
		"redirect URI":           {url.Values{"redirect_uri": {"https://evil.example/"}}, "redirect_uri is not one that the application has registered"},
		"longer redirect URI":    {url.Values{"redirect_uri": {application + "/x"}}, "redirect_uri is not one"},
		"redirect URI and query": {url.Values{"redirect_uri": {application + "?x=1"}}, "redirect_uri is not one"},
		"redirect URI, slash":    {url.Values{"redirect_uri": {application + "/"}}, "redirect_uri is not one"},
		"redirect URI, case":     {url.Values{"redirect_uri": {strings.ToUpper(application)}}, "redirect_uri is not one"},
		"fragment":               {url.Values{"redirect_uri": {application + "#x"}}, "redirect_uri is not one"},
		"user":                   {url.Values{"redirect_uri": {"https://app.example@evil.example/callback"}}, "redirect_uri is not one"},
		"one of several":         {url.Values{"client_id": {"several"}, "redirect_uri": nil}, "redirect_uri is missing, and the application has registered several"},
		"none registered":        {url.Values{"client_id": {"bare"}}, "redirect_uri is not one"},
		"script":                 {url.Values{"client_id": {"script"}, "redirect_uri": {"javascript:alert(1)"}}, "redirect_uri has a scheme that can't be redirected to"},
		"script by default":      {url.Values{"client_id": {"script"}, "redirect_uri": nil}, "redirect_uri is missing"},
		"client twice":           {url.Values{"client_id": {"app", "app"}}, "the parameter client_id must be given once"},
		"state twice":            {url.Values{"state": {"a", "b"}}, "the parameter state must be given once"},
		"redirect URI twice":     {url.Values{"redirect_uri": {application, "https://evil.example/"}}, "the parameter redirect_uri must be given once"},
		"unknown twice":          {url.Values{"<b>": {"a", "b"}}, "the parameter <b> must be given once"},
		"long state":             {url.Values{"state": {long}}, "the parameter state is too long"},
		"long redirect URI":      {url.Values{"redirect_uri": {long}}, "the parameter redirect_uri is too long"},
	}
	for name, tt := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				g := NewWithT(t)
				b := s.browser()
				target, form := "/oauth/2/authorize?"+query(tt.change).Encode(), url.Values(nil)
				if method == http.MethodPost {
					target, form = "/oauth/2/authorize", query(tt.change)
				}
				got := b.once(method, target, form)
				g.Expect(got.Status).To(Equal(400))
				g.Expect(got.To).To(BeNil())
				g.Expect(got.Body).To(And(ContainSubstring("That did not work"), ContainSubstring(tt.want)))
			})
		}
	}
	t.Run("malformed query", func(t *testing.T) {
		g := NewWithT(t)
		got := s.browser().once(http.MethodGet, "/oauth/2/authorize?client_id=%zz", nil)
		g.Expect(got.Status).To(Equal(400))
		g.Expect(got.Body).To(ContainSubstring("the query is malformed"))
	})
	t.Run("large form", func(t *testing.T) {
		g := NewWithT(t)
		got := s.browser().once(http.MethodPost, "/oauth/2/authorize", url.Values{"x": {strings.Repeat("x", 17<<10)}})
		g.Expect(got.Status).To(Equal(400))
		g.Expect(got.Body).To(ContainSubstring("the form is malformed or too large"))
	})
}

// Every other fault goes back to the application.
func TestRequestsThatGoBack(t *testing.T) {
	s := newSite(t)
	var scopes, resources []string
	for range 51 {
		scopes = append(scopes, "s")
		resources = append(resources, own)
	}
	tests := map[string]struct {
		change     url.Values
		code, want string
	}{
		"no response type":      {url.Values{"response_type": nil}, "invalid_request", "response_type is missing"},
		"response type":         {url.Values{"response_type": {"token"}}, "unsupported_response_type", "response_type must be code"},
		"hybrid":                {url.Values{"response_type": {"code id_token"}}, "unsupported_response_type", "response_type must be code"},
		"response mode":         {url.Values{"response_mode": {"fragment"}}, "invalid_request", "response_mode must be query"},
		"request object":        {url.Values{"request": {"e30."}}, "request_not_supported", "request objects are not supported"},
		"request URI":           {url.Values{"request_uri": {"https://app.example/r"}}, "request_not_supported", "request objects are not supported"},
		"scope":                 {url.Values{"scope": {`a"b`}}, "invalid_scope", "scope holds what RFC 6749 does not permit"},
		"many scopes":           {url.Values{"scope": {strings.Join(scopes, " ")}}, "invalid_scope", "scope holds"},
		"no challenge":          {url.Values{"code_challenge": nil, "code_challenge_method": nil}, "invalid_request", "code_challenge is required, with code_challenge_method S256"},
		"method alone":          {url.Values{"code_challenge": nil}, "invalid_request", "code_challenge is missing"},
		"plain":                 {url.Values{"code_challenge_method": {"plain"}}, "invalid_request", "code_challenge_method must be S256"},
		"plain by default":      {url.Values{"code_challenge_method": nil}, "invalid_request", "code_challenge_method must be S256"},
		"short challenge":       {url.Values{"code_challenge": {"abc"}}, "invalid_request", "code_challenge is no SHA-256 in base64url"},
		"challenge characters":  {url.Values{"code_challenge": {strings.Repeat("+", 43)}}, "invalid_request", "code_challenge is no SHA-256"},
		"prompt":                {url.Values{"prompt": {"create"}}, "invalid_request", "prompt must be none, login, consent or select_account"},
		"prompt none and login": {url.Values{"prompt": {"none login"}}, "invalid_request", "prompt none goes with no other"},
		"unknown resource":      {url.Values{"resource": {"https://nowhere.example"}}, "invalid_target", `Requested authorization for unknown resource "https://nowhere.example"`},
		"empty resource":        {url.Values{"resource": {""}}, "invalid_target", "unknown resource"},
		"resource of others":    {url.Values{"resource": {own, foreign}}, "access_denied", `Application "Application app" is not allowed to access "https://api.other.example".`},
		"many resources":        {url.Values{"resource": resources}, "invalid_target", "resource is given too often"},
		"prompt none":           {url.Values{"prompt": {"none"}}, "login_required", "the person is not signed in"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.in(t)
			s.expectError(s.browser().authorize(tt.change), tt.code, tt.want)
			// The only registered redirect URI may be left out.
			change := url.Values{"redirect_uri": nil}
			for name, values := range tt.change {
				change[name] = values
			}
			s.expectError(s.browser().authorize(change), tt.code, tt.want)
		})
	}
}

func TestRedirectURIs(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		given string
		want  bool
	}{
		"as registered":           {"http://127.0.0.1/callback", true},
		"another port":            {"http://127.0.0.1:8765/callback", true},
		"localhost, other port":   {"http://localhost:4711/cb?x=1", true},
		"localhost, query":        {"http://localhost:4711/cb", false},
		"other loopback address":  {"http://127.0.0.2:8765/callback", false},
		"name for the address":    {"http://localhost:8765/callback", false},
		"other path":              {"http://127.0.0.1:8765/callback/x", false},
		"escaped path":            {"http://127.0.0.1:8765/%63allback", false},
		"https":                   {"https://127.0.0.1:8765/callback", false},
		"user":                    {"http://a@127.0.0.1:8765/callback", false},
		"fragment":                {"http://127.0.0.1:8765/callback#x", false},
		"empty fragment":          {"http://127.0.0.1:8765/callback#", false},
		"port of another host":    {"https://app.example:8443/callback", false},
		"private-use scheme":      {"com.example.app:/cb", true},
		"other private-use path":  {"com.example.app:/cb/x", false},
		"no port after the colon": {"http://127.0.0.1:x/callback", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.browser().authorize(url.Values{"client_id": {"several"}, "redirect_uri": {tt.given}})
			NewWithT(t).Expect(got.Status).To(Equal(map[bool]int{true: 200, false: 400}[tt.want]), got.Body)
		})
	}
}

// A client with a secret may do without PKCE where the zone does not require it.
func TestZoneWithoutPKCE(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	g.Expect(s.store.Do(func(tx *store.Tx) error {
		zone, err := tx.Zones.Get("", "zn-demo")
		if err != nil {
			return err
		}
		zone.PKCERequired = false
		if _, err := tx.Zones.Replace(zone); err != nil {
			return err
		}
		app, _ := tx.Applications.Find("zn-demo", "app")
		_, err = tx.Credentials.Insert(store.Credential{
			Meta: store.Meta{ZoneID: "zn-demo"}, ApplicationID: app.ID, Type: store.CredentialPassword, Identifier: "app-secret",
		})
		return err
	})).To(Succeed())
	without := url.Values{"code_challenge": nil, "code_challenge_method": nil}
	s.expectError(s.browser().authorize(without), "invalid_request", "code_challenge is required")
	without["client_id"] = []string{"app-secret"}
	g.Expect(s.browser().authorize(without).Body).To(ContainSubstring("Sign in"))
}

// FuzzAuthorize sends any query: nothing panics, fails in the zone, or leads the
// browser to where no application has registered.
func FuzzAuthorize(f *testing.F) {
	f.Add(query(nil).Encode())
	f.Add(query(url.Values{"client_id": {"several"}, "redirect_uri": {"http://127.0.0.1:8765/callback"}, "prompt": {"none"}}).Encode())
	f.Add(query(url.Values{"client_id": {"script"}, "redirect_uri": {"javascript:alert(1)"}}).Encode())
	f.Add(query(url.Values{"client_id": {"bare"}, "redirect_uri": nil, "resource": {confluence, foreign}}).Encode())
	f.Add("client_id=several&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcallback%00")
	f.Add("client_id=app;redirect_uri=%2F%2Fevil.example")
	s := newSite(f)
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.NewRequest(http.MethodGet, "/oauth/2/authorize", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery, r.Host = raw, host
		// Interactions end, so that they don't pile up.
		s.Advance(10 * time.Minute)
		b := s.browser()
		b.site = &site{t: t, zone: s.zone}
		got := b.send(r)
		if got.Status >= 500 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		if got.To == nil || (got.To.Host == "" && got.To.Scheme == "" && got.To.Path == "/login/continue") {
			return
		}
		base := *got.To
		q := base.Query()
		for _, name := range []string{"error", "error_description", "state", "iss"} {
			q.Del(name)
		}
		base.RawQuery = q.Encode()
		if h := base.Hostname(); base.Scheme == "http" && (h == "127.0.0.1" || h == "localhost") {
			base.Host = h
		}
		registered := []string{application, "http://127.0.0.1/callback", "http://localhost/cb?x=1", "com.example.app:/cb"}
		if !slices.Contains(registered, base.String()) {
			t.Fatalf("%q leads to %q", raw, got.To)
		}
	})
}
