// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"bytes"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/store"
)

func TestAuthorizationCode(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	z.install(nil)
	z.own("https://other.example.com", false, nil)
	code := z.code(c.Now(), nil)
	c.Advance(30 * time.Second)
	got := z.redeem(code)
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))
	g.Expect(got.Body).To(And(HaveKeyWithValue("token_type", "Bearer"), HaveKeyWithValue("expires_in", 3600.0),
		HaveKeyWithValue("scope", "openid email read"), HaveKey("refresh_token"), HaveKey("id_token"), Not(HaveKey("issued_token_type"))))

	access := z.claims(text(got, "access_token"))
	now := float64(c.Now().Unix())
	g.Expect(access).To(And(HaveKeyWithValue("aud", mine), HaveKeyWithValue("sub", "alice@example.com"),
		HaveKeyWithValue("client_id", "pub"), HaveKeyWithValue("sub_profile", "user"), HaveKeyWithValue("scope", "openid email read"),
		HaveKeyWithValue("iat", now), HaveKeyWithValue("exp", now+3600)))
	g.Expect(access).To(HaveKeyWithValue("target", ConsistOf("https://other.example.com")), "she has not connected Confluence")
	id := z.claims(text(got, "id_token"))
	g.Expect(id).To(And(HaveKeyWithValue("iss", z.Issuer), HaveKeyWithValue("aud", "pub"), HaveKeyWithValue("sub", "alice@example.com"),
		HaveKeyWithValue("nonce", "n-1"), HaveKeyWithValue("auth_time", now-30), HaveKeyWithValue("sid", access["sid"]),
		HaveKeyWithValue("email", "alice@example.com"), HaveKeyWithValue("email_verified", true), Not(HaveKey("client_id"))))

	session := z.must("GET", "/sessions/"+access["sid"].(string), nil)
	parent := z.must("GET", "/sessions?session_type=user", nil)["items"].([]any)[0].(map[string]any)
	g.Expect(session).To(And(HaveKeyWithValue("session_type", "application"), HaveKeyWithValue("application_id", z.app()),
		HaveKeyWithValue("parent_id", parent["id"]), HaveKeyWithValue("user_id", parent["user_id"]), HaveKeyWithValue("status", "active"),
		HaveKeyWithValue("expires_at", "2026-03-31T12:00:30Z")))

	g.Expect(z.userinfo(text(got, "access_token")).Body).To(Equal(map[string]any{
		"sub": "alice@example.com", "email": "alice@example.com", "email_verified": true,
	}))
	again := z.redeem(code)
	g.Expect(again.Status).To(Equal(400))
	g.Expect(again).To(refused("invalid_grant", "code was used before"))
	g.Expect(z.must("GET", "/sessions/"+access["sid"].(string), nil)).To(HaveKeyWithValue("status", "revoked"))
	g.Expect(z.renew(text(got, "refresh_token"))).To(refused("invalid_grant", "revoked"))
	g.Expect(z.userinfo(text(got, "access_token")).Status).To(Equal(401))
}

func TestAuthorizationCodeErrors(t *testing.T) {
	z, c := person(t)
	z.credential(map[string]any{"type": "public", "identifier": "other"})
	z.own("https://second.example.com", true, nil)
	z.must("POST", "/resources", map[string]any{"identifier": "https://foreign.example.com", "name": "Foreign"})
	z.own("https://bare.example.com", false, map[string]any{"credential_provider_id": nil})
	long := strings.Repeat("a", 129)
	tests := map[string]struct {
		change func(c *store.Code)
		code   string
		more   []string
		status int
		error  string
		want   string
	}{
		"good":                  {status: 200},
		"unknown parameter":     {more: []string{"x", "y"}, status: 200},
		"its resource":          {more: []string{"resource", mine}, status: 200},
		"the second resource":   {change: func(c *store.Code) { c.Resources = []string{mine, "https://second.example.com"} }, more: []string{"resource", "https://second.example.com"}, status: 200},
		"no code":               {more: []string{"code", ""}, error: "invalid_request", want: "code is required"},
		"unknown code":          {more: []string{"code", "nope"}, error: "invalid_grant", want: "code is unknown or has expired"},
		"huge code":             {more: []string{"code", strings.Repeat("a", 60<<10)}, error: "invalid_grant", want: "code is unknown or has expired"},
		"expired":               {change: func(x *store.Code) { x.ExpiresAt = c.Now() }, error: "invalid_grant", want: "code is unknown or has expired"},
		"another client":        {more: []string{"client_id", "other"}, error: "invalid_grant", want: "issued to another client"},
		"no redirect_uri":       {more: []string{"redirect_uri", ""}, error: "invalid_grant", want: "redirect_uri differs"},
		"other redirect_uri":    {more: []string{"redirect_uri", callback + "/"}, error: "invalid_grant", want: "redirect_uri differs"},
		"no verifier":           {more: []string{"code_verifier", ""}, error: "invalid_request", want: "code_verifier is required"},
		"short verifier":        {more: []string{"code_verifier", long[:42]}, error: "invalid_request", want: "43 to 128"},
		"long verifier":         {more: []string{"code_verifier", long}, error: "invalid_request", want: "43 to 128"},
		"odd verifier":          {more: []string{"code_verifier", long[:50] + " "}, error: "invalid_request", want: "letters, digits"},
		"wrong verifier":        {more: []string{"code_verifier", long[:43]}, error: "invalid_grant", want: "does not belong"},
		"challenge as verifier": {more: []string{"code_verifier", challenge}, error: "invalid_grant", want: "does not belong"},
		"no challenge":          {change: func(c *store.Code) { c.Challenge = "" }, more: []string{"code_verifier", ""}, error: "invalid_grant", want: "no code_challenge, which this client needs"},
		"challenge removed":     {change: func(c *store.Code) { c.Challenge = "" }, error: "invalid_grant", want: "had no code_challenge"},
		"session gone":          {change: func(c *store.Code) { c.SessionID = "gone" }, error: "invalid_grant", want: "has ended"},
		"foreign resource":      {more: []string{"resource", "https://foreign.example.com"}, error: "invalid_target", want: "not authorized in this session"},
		"unknown resource":      {more: []string{"resource", "https://nowhere.example.com"}, error: "invalid_target", want: "unknown resource"},
		"long resource":         {more: []string{"resource", strings.Repeat("/", 10<<10)}, error: "invalid_target", want: "unknown resource"},
		"no dependency":         {change: func(c *store.Code) { c.Resources = []string{"https://foreign.example.com"} }, error: "access_denied", want: `Application "Reports" is not allowed to access`},
		"no provider":           {change: func(c *store.Code) { c.Resources = []string{"https://bare.example.com"} }, status: 500, error: "server_error", want: "missing a credential provider"},
		"unknown client":        {more: []string{"client_id", "nobody"}, status: 401, error: "invalid_client", want: "authentication is required"},
		"public with secret":    {more: []string{"client_secret", "x"}, status: 401, error: "invalid_client", want: "Unknown client or wrong client secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tt.status == 0 {
				tt.status = 400
			}
			code := z.code(c.Now(), tt.change)
			got := z.redeem(code, tt.more...)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status == 200 {
				return
			}
			g.Expect(got).To(refused(tt.error, tt.want))
			g.Expect(got.Raw).NotTo(ContainSubstring(code))
			if tt.change == nil && name != "expired" {
				g.Expect(z.redeem(code).Status).To(Equal(200), "a failed attempt does not use the code up")
			}
		})
	}
}

func TestConfidentialClientRedeems(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	z.must("PATCH", "/zones/"+z.ZoneID, map[string]any{"protocols": map[string]any{"oauth2": map[string]any{"pkce_required": false}}})
	code := z.code(c.Now(), func(x *store.Code) { x.ClientID, x.Challenge = "reports", "" })
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	got := z.exchange(form)
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(z.claims(text(got, "access_token"))).To(HaveKeyWithValue("client_id", "reports"))
	renewal := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text(got, "refresh_token")}}
	g.Expect(z.renew(text(got, "refresh_token"))).To(refused("invalid_grant", "another client"))
	g.Expect(z.exchange(renewal).Status).To(Equal(200))
	g.Expect(z.ask(renewal, "client_id", "reports")).To(refused("invalid_client", "authentication is required"), "a client with a secret has to show it")

	mixed := z.code(c.Now(), nil)
	form.Set("code", mixed)
	form.Set("code_verifier", verifier)
	g.Expect(z.exchange(form)).To(refused("invalid_grant", "issued to another client"))
}

// What an access token is depends on the resource: an audience is never a lie.
func TestTokenOfASession(t *testing.T) {
	t.Run("external", func(t *testing.T) {
		g := NewWithT(t)
		z, c := person(t)
		z.install(nil)
		landing := func() reply {
			return z.redeem(z.code(c.Now(), func(x *store.Code) { x.Resources = []string{confluence} }))
		}
		got := landing()
		g.Expect(got.Status).To(Equal(200), got.Raw)
		g.Expect(z.atlassianGet("/oauth/token/accessible-resources", text(got, "access_token")).Status).To(Equal(200), "it is the provider's own")
		g.Expect(got.Body["scope"]).To(ContainSubstring("read:confluence-content.all"))
		g.Expect(z.claims(text(got, "id_token"))).To(HaveKeyWithValue("aud", "pub"))
		g.Expect(z.renew(text(got, "refresh_token")).Status).To(Equal(200))
		z.must("PATCH", "/delegated-grants/"+z.grant()["id"].(string), map[string]any{"status": "revoked"})
		g.Expect(landing()).To(refused("insufficient_authorization", "User consent is required"))
	})
	t.Run("none", func(t *testing.T) {
		g := NewWithT(t)
		z, c := person(t)
		got := z.redeem(z.code(c.Now(), func(x *store.Code) { x.Resources = nil }))
		g.Expect(got.Status).To(Equal(200), got.Raw)
		g.Expect(z.claims(text(got, "access_token"))).To(And(HaveKeyWithValue("aud", z.Issuer+"/openidconnect/userinfo"),
			HaveKeyWithValue("scope", "openid email"), Not(HaveKey("target"))))
		g.Expect(z.userinfo(text(got, "access_token")).Status).To(Equal(200))
		got = z.redeem(z.code(c.Now(), func(x *store.Code) { x.Resources, x.Scopes = nil, nil }))
		g.Expect(got.Body).NotTo(HaveKey("id_token"))
		g.Expect(z.userinfo(text(got, "access_token")).Status).To(Equal(403))
	})
	t.Run("connected", func(t *testing.T) {
		g := NewWithT(t)
		z, c := person(t)
		z.install(nil)
		g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200), "the grant is made")
		got := z.redeem(z.code(c.Now(), nil))
		g.Expect(z.claims(text(got, "access_token"))).To(HaveKeyWithValue("target", ConsistOf(confluence)))
		form := url.Values{
			"grant_type": {tokenExchange}, "subject_token": {text(got, "access_token")},
			"subject_token_type": {accessToken}, "resource": {confluence},
		}
		g.Expect(z.exchange(form).Status).To(Equal(200))
		form.Set("subject_token", text(got, "id_token"))
		g.Expect(z.exchange(form)).To(refused("invalid_grant", "no access token"), "an ID token is none")
		form.Set("subject_token", text(got, "access_token"))
		form.Set("resource", mine)
		again := z.exchange(form)
		g.Expect(again.Status).To(Equal(200), again.Raw)
		sid := z.claims(text(again, "access_token"))["sid"]
		g.Expect(sid).To(Equal(z.claims(text(got, "access_token"))["sid"]), "what comes of a token belongs to its session")
		z.must("PATCH", "/sessions/"+sid.(string), map[string]any{"status": "revoked"})
		form.Set("resource", confluence)
		g.Expect(z.exchange(form)).To(refused("invalid_grant", "subject_token belongs to a session that was revoked"))
		form.Set("subject_token", text(again, "access_token"))
		g.Expect(z.exchange(form)).To(refused("invalid_grant", "session that was revoked"))
	})
}

func TestRefresh(t *testing.T) {
	z, c := person(t)
	z.own("https://second.example.com", true, nil)
	z.credential(map[string]any{"type": "public", "identifier": "other"})
	fresh := func() reply {
		return z.redeem(z.code(c.Now(), func(x *store.Code) {
			x.Scopes, x.Resources = []string{"openid", "read", "write"}, []string{mine, "https://second.example.com"}
		}))
	}
	t.Run("rotates", func(t *testing.T) {
		g := NewWithT(t)
		first := fresh()
		sid := z.claims(text(first, "access_token"))["sid"].(string)
		c.Advance(29 * 24 * time.Hour)
		second := z.renew(text(first, "refresh_token"))
		g.Expect(second.Status).To(Equal(200), second.Raw)
		g.Expect(text(second, "refresh_token")).To(And(HavePrefix(sid+"."), Not(Equal(text(first, "refresh_token")))))
		g.Expect(z.claims(text(second, "access_token"))).To(And(HaveKeyWithValue("sid", sid), HaveKeyWithValue("aud", mine)))
		g.Expect(z.claims(text(second, "id_token"))).To(Not(HaveKey("nonce")))
		c.Advance(29 * 24 * time.Hour)
		third := z.renew(text(second, "refresh_token"), "scope", "read", "resource", "https://second.example.com")
		g.Expect(third.Status).To(Equal(200), "its life slides: "+third.Raw)
		g.Expect(z.claims(text(third, "access_token"))).To(And(HaveKeyWithValue("aud", "https://second.example.com"), Not(HaveKey("scope"))))
		g.Expect(third.Body).NotTo(HaveKey("id_token"), "openid was not asked for")
		fourth := z.renew(text(third, "refresh_token"))
		g.Expect(fourth.Body).To(HaveKeyWithValue("scope", "openid read write"), "asking for less once takes nothing away")

		g.Expect(z.renew(text(second, "refresh_token"))).To(refused("invalid_grant", "used before: its session is revoked"))
		g.Expect(z.renew(text(fourth, "refresh_token"))).To(refused("invalid_grant", "revoked"))
		z.token = z.login("operator", "dev-only-operator-secret")
		g.Expect(z.must("GET", "/sessions/"+sid, nil)).To(HaveKeyWithValue("status", "revoked"))
	})
	t.Run("a guess ends nothing", func(t *testing.T) {
		g := NewWithT(t)
		token := text(fresh(), "refresh_token")
		id, _, _ := strings.Cut(token, ".")
		for _, guess := range []string{id + "." + strings.Repeat("A", 78), id + ".", id, "." + token, "x" + token} {
			g.Expect(z.renew(guess)).To(refused("invalid_grant", "refresh_token is unknown"), guess)
		}
		next := z.renew(token)
		g.Expect(next.Status).To(Equal(200), next.Raw)
		g.Expect(z.renew(text(next, "refresh_token")+"x")).To(refused("invalid_grant", "used before"), "who knows that much has had one")
		g.Expect(z.renew(text(next, "refresh_token"))).To(refused("invalid_grant", "revoked"))
	})
	tests := map[string]struct {
		more        []string
		error, want string
	}{
		"none":                    {[]string{"refresh_token", ""}, "invalid_request", "refresh_token is required"},
		"another client":          {[]string{"client_id", "other"}, "invalid_grant", "another client"},
		"more scope":              {[]string{"scope", "read admin"}, "invalid_scope", "scope admin was not granted"},
		"odd scope":               {[]string{"scope", `"`}, "invalid_scope", "character"},
		"unknown resource":        {[]string{"resource", "https://x.example.com"}, "invalid_target", "unknown resource"},
		"resource not authorized": {[]string{"resource", "https://third.example.com"}, "invalid_target", "not authorized"},
	}
	z.own("https://third.example.com", true, nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			token := text(fresh(), "refresh_token")
			got := z.renew(token, tt.more...)
			g.Expect(got.Status).To(Equal(400))
			g.Expect(got).To(refused(tt.error, tt.want))
			g.Expect(z.renew(token).Status).To(Equal(200), "the token is still good")
		})
	}
	t.Run("expired", func(t *testing.T) {
		g := NewWithT(t)
		token := text(fresh(), "refresh_token")
		c.Advance(30 * 24 * time.Hour)
		g.Expect(z.renew(token)).To(refused("invalid_grant", "unknown, has expired"))
	})
}

// Refresh tokens and codes outlive the server when it has a folder.
func TestSessionsSurviveARestart(t *testing.T) {
	g := NewWithT(t)
	c := clock.New()
	config := devzone.Config{
		Clock: c.Now, Issuer: "https://zn-demo.keycard.test",
		DataDir: filepath.Join(t.TempDir(), "data"), DataKey: bytes.Repeat([]byte{7}, disk.KeySize),
	}
	z := start(t, config)
	z.credential(map[string]any{"type": "public", "identifier": "pub"})
	z.own(mine, true, nil)
	first := text(z.redeem(z.code(c.Now(), nil)), "refresh_token")
	second := text(z.renew(first), "refresh_token")
	code := z.code(c.Now(), nil)
	g.Expect(second).NotTo(BeEmpty())
	g.Expect(z.Close()).To(Succeed())

	z = start(t, config)
	got := z.renew(second)
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(z.redeem(code).Status).To(Equal(200))
	g.Expect(z.redeem(code)).To(refused("invalid_grant", "code was used before"))
	g.Expect(z.renew(first)).To(refused("invalid_grant", "used before"))
	g.Expect(z.Close()).To(Succeed())

	z = start(t, config)
	g.Expect(z.renew(text(got, "refresh_token"))).To(refused("invalid_grant", "revoked"))
}

// A provider that is down does not use the code up.
func TestCodeOutlivesAFailingProvider(t *testing.T) {
	g := NewWithT(t)
	var u upstream
	z := start(t, devzone.Config{AtlassianMiddleware: u.middleware})
	z.credential(map[string]any{"type": "public", "identifier": "pub"})
	z.install(nil)
	code := z.code(time.Now(), func(x *store.Code) { x.Resources = []string{confluence} })
	u.fail(503, "7", "")
	got := z.redeem(code)
	g.Expect(got.Status).To(Equal(503), got.Raw)
	g.Expect(got.Header.Get("Retry-After")).To(Equal("7"))
	u.answer.Store(nil)
	tokens := z.redeem(code)
	g.Expect(tokens.Status).To(Equal(200), tokens.Raw)
	u.fail(503, "", "")
	g.Expect(z.renew(text(tokens, "refresh_token")).Status).To(Equal(503))
	u.answer.Store(nil)
	g.Expect(z.renew(text(tokens, "refresh_token")).Status).To(Equal(200), "nor the refresh token")
}

// Of two requests with one code at the same time one is a thief's: at most one
// gets tokens, and they end with the other.
func TestCodeRace(t *testing.T) {
	z, c := person(t)
	code := z.code(c.Now(), nil)
	answers := make(chan reply, 8)
	var wg sync.WaitGroup
	for range cap(answers) {
		wg.Go(func() { answers <- z.redeem(code) })
	}
	wg.Wait()
	close(answers)
	g := NewWithT(t)
	granted := 0
	for got := range answers {
		if got.Status == 200 {
			granted++
			g.Expect(z.renew(text(got, "refresh_token"))).To(refused("invalid_grant", "revoked"))
		}
	}
	g.Expect(granted).To(Equal(1))
}

// Policies decide what a session gives: a refused dependency is missing from
// target, a refused scope from the token, and a refused resource refuses it all.
func TestPoliciesInASession(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	z.own("https://other.example.com", false, nil)
	tokens := z.redeem(z.code(c.Now(), func(x *store.Code) { x.Scopes = append(x.Scopes, "write") }))
	g.Expect(z.claims(text(tokens, "access_token"))).To(HaveKeyWithValue("target", ConsistOf("https://other.example.com")))

	defaults := z.manifest()
	set := z.must("POST", "/policy-sets", map[string]any{"name": "ours"})["id"].(string)
	soft := entry(z.addPolicy("soft", `forbid (principal, action, resource) when { resource.identifier == "https://other.example.com" };`))
	scoped := entry(z.addPolicy("scoped", `forbid (principal, action, resource) when { context.scopes.contains("write") };`))
	z.putInForce(set, append(defaults, soft, scoped))
	tokens = z.renew(text(tokens, "refresh_token"))
	g.Expect(tokens.Status).To(Equal(200), tokens.Raw)
	g.Expect(tokens.Body).To(HaveKeyWithValue("scope", "openid email read"))
	g.Expect(z.claims(text(tokens, "access_token"))).NotTo(HaveKey("target"))

	hard := entry(z.addPolicy("hard", `forbid (principal, action, resource) when { resource.identifier == "`+mine+`" };`))
	z.putInForce(set, append(defaults, hard))
	denied := z.renew(text(tokens, "refresh_token"))
	g.Expect(denied.Status).To(Equal(400))
	g.Expect(denied).To(refused("access_denied", "Determining policies: hard."))
	g.Expect(z.redeem(z.code(c.Now(), nil))).To(refused("access_denied", "Access denied by policy."))
	z.putInForce(set, defaults)
	g.Expect(z.renew(text(tokens, "refresh_token")).Status).To(Equal(200), "a denial does not use the token up")
}
