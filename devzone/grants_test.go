// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// upstream watches and breaks the requests that reach the stand-in's token
// endpoint.
type upstream struct {
	codes, refreshes atomic.Int64
	refreshTokens    sync.Map
	reused           atomic.Int64
	answer           atomic.Pointer[http.HandlerFunc]
	gate             atomic.Pointer[chan struct{}]
}

func (u *upstream) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			next.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"grant_type":"refresh_token"`)) {
			u.refreshes.Add(1)
			if _, seen := u.refreshTokens.LoadOrStore(string(body), true); seen {
				u.reused.Add(1)
			}
		} else {
			u.codes.Add(1)
		}
		if gate := u.gate.Load(); gate != nil {
			<-*gate
		}
		if answer := u.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (u *upstream) fail(status int, header, body string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	u.answer.Store(&h)
}

// grant returns the one grant of alice.
func (z *zone) grant() map[string]any {
	z.t.Helper()
	items := z.must("GET", "/delegated-grants", nil)["items"].([]any)
	NewWithT(z.t).Expect(items).To(HaveLen(1))
	return items[0].(map[string]any)
}

func TestDelegatedGrants(t *testing.T) {
	g := NewWithT(t)
	c := clock.New()
	z := start(t, devzone.Config{Clock: c.Now})
	provider, resource := z.install(nil)
	g.Expect(z.must("GET", "/delegated-grants", nil)["items"]).To(BeEmpty(), "a grant comes with the first exchange")
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))

	alice := z.must("GET", "/users?filter[email]=alice@example.com", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	grant := z.grant()
	g.Expect(grant).To(And(HaveKeyWithValue("user_id", alice), HaveKeyWithValue("resource_id", resource),
		HaveKeyWithValue("provider_id", provider), HaveKeyWithValue("status", "active"), HaveKeyWithValue("active", true),
		HaveKeyWithValue("refresh_token_set", true), HaveKeyWithValue("scopes", ContainElement("read:confluence-content.all")),
		HaveKeyWithValue("expires_at", "2026-05-30T12:00:00Z"), HaveKey("created_at"), HaveKey("updated_at"),
		Not(HaveKey("refreshed_at")), Not(HaveKey("application_id"))))

	c.Advance(time.Minute)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	g.Expect(z.grant()).To(And(HaveKeyWithValue("id", grant["id"]), HaveKeyWithValue("refreshed_at", "2026-03-01T12:01:00Z")))

	for query, n := range map[string]int{
		"":                         1,
		"user_id=" + alice:         1,
		"user_id=other":            0,
		"resource_id=" + resource:  1,
		"resource_id=other":        0,
		"status=active":            1,
		"status=revoked":           0,
		"active=true":              1,
		"status=expired&limit=1":   0,
		"expand[]=total_count":     1,
		"status=active&user_id=no": 0,
	} {
		g.Expect(z.must("GET", "/delegated-grants?"+query, nil)["items"]).To(HaveLen(n), query)
	}
	for _, query := range []string{"status=nope", "active=false", "active=", "active=true&status=revoked"} {
		g.Expect(z.api("GET", "/delegated-grants?"+query, nil).Status).To(Equal(400), query)
	}
	g.Expect(z.must("GET", "/delegated-grants", nil)).NotTo(HaveKey("page_info"))

	path := "/delegated-grants/" + grant["id"].(string)
	for _, body := range []any{map[string]any{}, map[string]any{"status": "active"}, map[string]any{"status": nil}, map[string]any{"status": 1}} {
		g.Expect(z.api("PATCH", path, body).Status).To(Equal(400))
	}
	g.Expect(z.api("PATCH", "/delegated-grants/nope", map[string]any{"status": "revoked"}).Status).To(Equal(404))
	g.Expect(z.must("PATCH", path, map[string]any{"status": "revoked"})).To(And(HaveKeyWithValue("status", "revoked"),
		HaveKeyWithValue("active", false), HaveKeyWithValue("refresh_token_set", false)))

	for range 2 {
		got := z.impersonate("alice@example.com")
		g.Expect(got.Body).To(And(HaveKeyWithValue("error", "insufficient_authorization"),
			HaveKeyWithValue("error_description", "User consent is required")))
	}
	g.Expect(z.grant()).To(HaveKeyWithValue("status", "revoked"))

	g.Expect(z.api("DELETE", path, nil).Status).To(Equal(204))
	g.Expect(z.api("GET", path, nil).Status).To(Equal(404))
	g.Expect(z.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "insufficient_authorization"),
		"a deleted grant is not made again silently")
}

func TestGrantExpiresWhenTheProviderSaysSo(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	g.Expect(z.Atlassian.Disconnect("alice@example.com", "atlassian-app")).To(Succeed())
	got := z.impersonate("alice@example.com")
	g.Expect(got.Status).To(Equal(400))
	g.Expect(got.Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	g.Expect(z.grant()).To(And(HaveKeyWithValue("status", "expired"), HaveKeyWithValue("refresh_token_set", false)))
}

func TestUpstreamFailures(t *testing.T) {
	tests := map[string]struct {
		status     int
		retryAfter string
		body       string
		want       int
		code, text string
	}{
		"wrong client":  {401, "", `{"error":"access_denied"}`, 502, "server_error", "HTTP 401: access_denied"},
		"throttled":     {429, "7", `{}`, 503, "temporarily_unavailable", "HTTP 429"},
		"down":          {500, "", `<html>`, 503, "temporarily_unavailable", "HTTP 500"},
		"unavailable":   {503, "9", ``, 503, "temporarily_unavailable", "HTTP 503"},
		"no token":      {200, "", `{}`, 502, "server_error", "holds no access token"},
		"not json":      {200, "", `hello`, 502, "server_error", "holds no access token"},
		"odd code":      {400, "", `{"error":"<script>","error_description":"secret"}`, 502, "server_error", "HTTP 400"},
		"redirect":      {302, "", ``, 502, "server_error", "HTTP 302"},
		"wrong type":    {400, "", `{"error":7}`, 502, "server_error", "HTTP 400"},
		"other refusal": {400, "", `{"error":"invalid_request"}`, 502, "server_error", "invalid_request"},
	}
	var u upstream
	z := start(t, devzone.Config{AtlassianMiddleware: u.middleware})
	z.install(nil)
	NewWithT(t).Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			u.fail(tt.status, tt.retryAfter, tt.body)
			defer u.answer.Store(nil)
			got := z.impersonate("alice@example.com")
			g.Expect(got.Status).To(Equal(tt.want), got.Raw)
			g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", And(
				ContainSubstring(tt.text), ContainSubstring("https://auth.atlassian.com"), Not(ContainSubstring("secret")), Not(ContainSubstring("<"))))))
			g.Expect(got.Header.Get("Retry-After")).To(Equal(tt.retryAfter))
			g.Expect(z.grant()).To(HaveKeyWithValue("status", "active"), "the person did nothing wrong")
		})
	}
	NewWithT(t).Expect(z.impersonate("alice@example.com").Status).To(Equal(200), "it heals")
}

func TestMisconfiguredProvider(t *testing.T) {
	type object = map[string]any
	oauth2 := func(p object) object { return p["protocols"].(map[string]any)["oauth2"].(map[string]any) }
	tests := map[string]struct {
		change func(p, r object)
		status int
		want   string
	}{
		"wrong secret":        {func(p, _ object) { p["client_secret"] = "wrong" }, 502, "redeeming the authorization code: HTTP 401: access_denied"},
		"wrong client":        {func(p, _ object) { p["client_id"] = "wrong" }, 502, "unauthorized_client: unknown client_id"},
		"no client":           {func(p, _ object) { delete(p, "client_id") }, 502, "unknown client_id"},
		"no audience":         {func(p, _ object) { delete(oauth2(p), "authorization_parameters") }, 502, "invalid_request: audience must be"},
		"scope not enabled":   {func(_, r object) { r["scopes"] = []string{"delete:everything"} }, 502, "invalid_scope"},
		"no scopes":           {func(_, r object) { delete(r, "scopes") }, 502, "invalid_scope"},
		"unreachable":         {func(p, _ object) { oauth2(p)["token_endpoint"] = "http://127.0.0.1:1/token" }, 503, "redeeming"},
		"authorize elsewhere": {func(p, _ object) { oauth2(p)["authorization_endpoint"] = "http://127.0.0.1:1/a" }, 503, "asking for consent"},
		"authorize wrong":     {func(p, _ object) { oauth2(p)["authorization_endpoint"] = "https://auth.atlassian.com/nope" }, 502, "HTTP 404"},
		"identifier no url":   {func(p, _ object) { p["identifier"] = "atlassian"; delete(oauth2(p), "token_endpoint") }, 502, "token_endpoint must be set"},
		"discovered": {func(p, _ object) {
			delete(oauth2(p), "token_endpoint")
			delete(oauth2(p), "authorization_endpoint")
		}, 200, ""},
		"token elsewhere in the answer": {func(p, _ object) { oauth2(p)["token_response_access_token_pointer"] = "authed_user.access_token" }, 502, "holds no access token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			z := start(t, devzone.Config{})
			z.install(func(p, r map[string]any) { tt.change(p, r) })
			got := z.impersonate("alice@example.com")
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status != 200 {
				g.Expect(got.Body["error_description"]).To(ContainSubstring(tt.want))
				g.Expect(z.must("GET", "/delegated-grants", nil)["items"]).To(BeEmpty())
			}
		})
	}
}

func TestSecretCorrectionHeals(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	provider, _ := z.install(func(p, _ map[string]any) { p["client_secret"] = "wrong" })
	g.Expect(z.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "server_error"))
	z.must("PATCH", "/providers/"+provider, map[string]any{"client_secret": "dev-only-atlassian-secret"})
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
}

func TestCallbackMismatch(t *testing.T) {
	s := seed.Default()
	s.Atlassian.Apps[0].Callback = "https://elsewhere.example.com/callback"
	z := start(t, devzone.Config{Seed: s})
	z.install(nil)
	got := z.impersonate("alice@example.com")
	NewWithT(t).Expect(got.Body).To(And(HaveKeyWithValue("error", "server_error"),
		HaveKeyWithValue("error_description", ContainSubstring("Callback URL mismatch"))))
}

func TestApplicationGrant(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	s.Applications[0].Grants = []seed.Consent{{Resource: confluence, Account: "bob@example.com"}}
	z := start(t, devzone.Config{Seed: s})
	z.install(nil)
	got := z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {confluence}})
	g.Expect(got.Status).To(Equal(200), got.Raw)
	me := z.atlassianGet("/ex/confluence/11111111-2222-4333-8444-555555555555/wiki/rest/api/user/current", got.Body["access_token"].(string))
	g.Expect(me.Body).To(HaveKeyWithValue("email", "bob@example.com"))
	g.Expect(z.must("GET", "/delegated-grants", nil)["items"]).To(BeEmpty(), "nobody delegated it")
	again := z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {confluence}})
	g.Expect(again.Status).To(Equal(200), again.Raw)
}

func TestNewProviderNeedsNewConsent(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	_, resource := z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	other := z.must("POST", "/providers", map[string]any{"identifier": "https://other.example.com", "name": "Other"})["id"]
	z.must("PATCH", "/resources/"+resource, map[string]any{"credential_provider_id": other})
	g.Expect(z.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
}
