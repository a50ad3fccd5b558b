// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// endpoint asks one of the endpoints beside the token endpoint.
func (z *zone) endpoint(name, token string, more ...string) reply {
	z.t.Helper()
	form := url.Values{"token": {token}, "client_id": {"pub"}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return z.form(z.ZoneURL+"/oauth/2/"+name, form)
}

var asReports = []string{"client_id", "reports", "client_secret", "dev-only-reports-password"}

func TestRevocation(t *testing.T) {
	z, c := person(t)
	z.credential(map[string]any{"type": "public", "identifier": "other"})
	for name, which := range map[string]string{"refresh token": "refresh_token", "access token": "access_token"} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			tokens := z.redeem(z.code(c.Now(), nil))
			sid := z.claims(text(tokens, "access_token"))["sid"].(string)
			status := func() any { return z.must("GET", "/sessions/"+sid, nil)["status"] }
			got := z.endpoint("revoke", text(tokens, which), "client_id", "other")
			g.Expect(got.Status).To(Equal(200))
			g.Expect(status()).To(Equal("active"), "of another client")
			got = z.endpoint("revoke", text(tokens, which), "token_type_hint", "nonsense")
			g.Expect(got.Status).To(Equal(200))
			g.Expect(got.Raw).To(BeEmpty())
			g.Expect(status()).To(Equal("revoked"))
			g.Expect(z.renew(text(tokens, "refresh_token"))).To(refused("invalid_grant", "revoked"))
			g.Expect(z.endpoint("revoke", text(tokens, which)).Status).To(Equal(200), "once more")
		})
	}
	t.Run("token without a session", func(t *testing.T) {
		g := NewWithT(t)
		token := text(z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {mine}}), "access_token")
		got := z.endpoint("revoke", token, asReports...)
		g.Expect(got.Status).To(Equal(400))
		g.Expect(got).To(refused("unsupported_token_type", "valid until it expires"))
	})
	t.Run("unknown", func(t *testing.T) {
		for _, token := range []string{"x", "x.y", "a.b.c", strings.Repeat(".", 1000)} {
			NewWithT(t).Expect(z.endpoint("revoke", token).Status).To(Equal(200), token)
		}
	})
}

func TestIntrospection(t *testing.T) {
	z, c := person(t)
	z.own("https://other.example.com", false, map[string]any{"application_id": z.must("POST", "/applications", kinds["/applications"])["id"]})
	g := NewWithT(t)
	tokens := z.redeem(z.code(c.Now(), nil))
	inactive := map[string]any{"active": false}
	ask := func(token string) map[string]any {
		got := z.endpoint("introspect", token, asReports...)
		g.Expect(got.Status).To(Equal(200), got.Raw)
		return got.Body
	}
	access := text(tokens, "access_token")
	g.Expect(ask(access)).To(And(HaveKeyWithValue("active", true), HaveKeyWithValue("sub", "alice@example.com"),
		HaveKeyWithValue("aud", mine), HaveKeyWithValue("client_id", "pub"), HaveKeyWithValue("scope", "openid email read"),
		HaveKeyWithValue("token_type", "Bearer"), HaveKey("exp"), HaveKey("sid")), "its application provides the resource")
	g.Expect(ask(text(tokens, "refresh_token"))).To(Equal(inactive), "it is another client's")
	g.Expect(ask(text(tokens, "id_token"))).To(Equal(inactive))
	for _, token := range []string{"x", "x.y", access + "x"} {
		g.Expect(ask(token)).To(Equal(inactive), token)
	}
	foreign := text(z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {"https://other.example.com"}}), "access_token")
	g.Expect(ask(foreign)).To(HaveKeyWithValue("active", true), "its own token")

	z.must("PATCH", "/zones/"+z.ZoneID, map[string]any{"protocols": map[string]any{"oauth2": map[string]any{"pkce_required": false}}})
	own := z.exchange(url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {callback}, "code": {
		z.code(c.Now(), func(x *store.Code) { x.ClientID, x.Challenge = "reports", "" }),
	}})
	g.Expect(ask(text(own, "refresh_token"))).To(And(HaveKeyWithValue("active", true), HaveKeyWithValue("client_id", "reports"), HaveKey("sid"), HaveKey("exp")))

	g.Expect(z.endpoint("introspect", access)).To(refused("invalid_client", "authentication is required"), "not for public clients")
	z.must("PATCH", "/sessions/"+z.claims(access)["sid"].(string), map[string]any{"status": "revoked"})
	g.Expect(ask(access)).To(Equal(inactive))
	c.Advance(time.Hour)
	g.Expect(ask(foreign)).To(Equal(inactive))
}

// The endpoints beside the token endpoint take their form as strictly.
func TestClientEndpoints(t *testing.T) {
	z, _ := person(t)
	for _, name := range []string{"revoke", "introspect"} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(z.endpoint(name, "", asReports...)).To(refused("invalid_request", "token is required"))
			g.Expect(z.endpoint(name, "x", "client_id", "")).To(refused("invalid_client", "authentication is required"))
			wrong := z.endpoint(name, "x", "client_id", "reports", "client_secret", "no")
			g.Expect(wrong.Status).To(Equal(401))
			g.Expect(wrong).To(refused("invalid_client", "Unknown client or wrong client secret"))
			g.Expect(wrong.Header.Get("WWW-Authenticate")).To(HavePrefix("Basic "))
			g.Expect(wrong.Body).To(HaveKeyWithValue("requestId", HaveLen(26)))
			target := z.ZoneURL + "/oauth/2/" + name
			get := z.do(z.request("GET", target, nil))
			g.Expect(get.Status).To(Equal(405))
			g.Expect(get.Header.Get("Allow")).To(Equal("POST"))
			g.Expect(z.do(z.request("POST", target, "{}"))).To(refused("invalid_request", "Content-Type"))
			g.Expect(z.form(target+"?token=x", url.Values{})).To(refused("invalid_request", "not in the URL"))
			g.Expect(z.form(target, url.Values{"token": {"a", "b"}})).To(refused("invalid_request", "given once: token"))
			g.Expect(z.form(target, url.Values{"token": {strings.Repeat("x", 64<<10)}})).To(refused("invalid_request", "larger than"))
		})
	}
}

func TestUserinfo(t *testing.T) {
	z, c := person(t)
	tokens := z.redeem(z.code(c.Now(), nil))
	app := text(z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {mine}}), "access_token")
	impersonated := text(z.exchange(impersonation("alice@example.com", mine)), "access_token")
	narrow := text(z.redeem(z.code(c.Now(), func(x *store.Code) { x.Scopes = []string{"read"} })), "access_token")
	tests := map[string]struct {
		token     string
		status    int
		challenge string
	}{
		"good":             {text(tokens, "access_token"), 200, ""},
		"none":             {"", 401, "Bearer"},
		"no jwt":           {"opaque", 401, `Bearer error="invalid_token", error_description="the token is not a valid access token of this zone"`},
		"id token":         {text(tokens, "id_token"), 401, `Bearer error="invalid_token", error_description="the token is not a valid access token of this zone"`},
		"tampered":         {text(tokens, "access_token")[:500] + "AAAA", 401, `Bearer error="invalid_token", error_description="the token is not a valid access token of this zone"`},
		"of an app":        {app, 401, `Bearer error="invalid_token", error_description="the token is of no session of a person"`},
		"of impersonation": {impersonated, 401, `Bearer error="invalid_token", error_description="the token is of no session of a person"`},
		"without openid":   {narrow, 403, `Bearer error="insufficient_scope", error_description="the token lacks the scope openid"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := z.userinfo(tt.token)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Header.Get("WWW-Authenticate")).To(Equal(tt.challenge))
			g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))
		})
	}
	g := NewWithT(t)
	put := z.do(z.request("PUT", z.ZoneURL+"/openidconnect/userinfo", nil))
	g.Expect(put.Status).To(Equal(405))
	g.Expect(put.Header.Get("Allow")).To(Equal("GET, POST"))
	post := z.request("POST", z.ZoneURL+"/openidconnect/userinfo", nil)
	post.Header.Set("Authorization", "bearer "+text(tokens, "access_token"))
	g.Expect(z.do(post).Status).To(Equal(200))
	basic := z.request("GET", z.ZoneURL+"/openidconnect/userinfo", nil)
	basic.SetBasicAuth("a", "b")
	g.Expect(z.do(basic).Status).To(Equal(401))
	c.Advance(time.Hour)
	g.Expect(z.userinfo(text(tokens, "access_token")).Status).To(Equal(401), "expired")
}
