// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/store"
)

func (z *zone) register(body any, contentType string) reply {
	z.t.Helper()
	req := z.request("POST", z.ZoneURL+"/oauth/2/registration", body)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return z.do(req)
}

func TestRegistration(t *testing.T) {
	z, c := person(t)
	uris := []string{callback}
	type object = map[string]any
	t.Run("public", func(t *testing.T) {
		g := NewWithT(t)
		got := z.register(object{
			"client_name": "Editor", "redirect_uris": uris, "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid", "logo_uri": 7,
		}, "")
		g.Expect(got.Status).To(Equal(201), got.Raw)
		g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))
		id := text(got, "client_id")
		g.Expect(id).To(MatchRegexp("^ua:[0-9a-f]{64}$"))
		g.Expect(got.Body).To(Equal(object{
			"client_id": id, "client_id_issued_at": float64(c.Now().Unix()), "client_name": "Editor",
			"redirect_uris": []any{callback}, "token_endpoint_auth_method": "none",
			"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		}))
		agents := z.must("GET", "/user-agents", nil)
		g.Expect(agents).NotTo(HaveKey("page_info"))
		g.Expect(agents["items"]).To(ConsistOf(And(HaveKeyWithValue("identifier", id), HaveKeyWithValue("name", "Editor"),
			HaveKey("slug"), HaveKey("created_at"), HaveKeyWithValue("zone_id", z.ZoneID))))
		agent := agents["items"].([]any)[0].(object)
		g.Expect(z.must("GET", "/user-agents/"+agent["id"].(string), nil)).To(Equal(agent))
		g.Expect(z.api("GET", "/user-agents/nope", nil).Status).To(Equal(404))

		code := z.code(c.Now(), func(x *store.Code) { x.ClientID = id })
		tokens := z.redeem(code, "client_id", id)
		g.Expect(tokens.Status).To(Equal(200), "it depends on nothing, and the policies permit it: "+tokens.Raw)
		claims := z.claims(text(tokens, "access_token"))
		g.Expect(claims).To(And(HaveKeyWithValue("aud", mine), HaveKeyWithValue("client_id", id)))
		g.Expect(z.must("GET", "/sessions/"+claims["sid"].(string), nil)).To(HaveKeyWithValue("user_agent_id", agent["id"]))
		app := z.must("GET", "/applications?identifier="+id, nil)["items"].([]any)[0].(object)
		g.Expect(app).To(HaveKeyWithValue("protocols", HaveKeyWithValue("oauth2", HaveKeyWithValue("redirect_uris", ConsistOf(callback)))))
	})
	t.Run("confidential", func(t *testing.T) {
		g := NewWithT(t)
		for _, method := range []string{"", "client_secret_basic", "client_secret_post"} {
			body := object{"redirect_uris": []string{"https://app.example.com/cb?x=y"}}
			if method != "" {
				body["token_endpoint_auth_method"] = method
			}
			got := z.register(body, "")
			g.Expect(got.Status).To(Equal(201), got.Raw)
			g.Expect(got.Body).To(And(HaveKeyWithValue("client_secret_expires_at", 0.0), HaveKeyWithValue("grant_types", ConsistOf("authorization_code"))))
			denied := z.ask(url.Values{
				"grant_type": {clientCredentials}, "resource": {mine},
				"client_id": {text(got, "client_id")}, "client_secret": {text(got, "client_secret")},
			})
			g.Expect(denied).To(refused("access_denied", "is not allowed to access"), "it is a client now, but depends on nothing")
		}
	})
	t.Run("keyed", func(t *testing.T) {
		g := NewWithT(t)
		p := newPlatform(t)
		got := z.register(object{"redirect_uris": uris, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": p.URL + "/jwks"}, "")
		g.Expect(got.Status).To(Equal(201), got.Raw)
		id := text(got, "client_id")
		denied := z.assert(signed(t, p.key, object{"iss": id, "sub": id, "aud": z.Issuer, "exp": c.Now().Unix() + 60, "jti": "1"}), "resource", mine)
		g.Expect(denied).To(refused("access_denied", "is not allowed to access"))
	})
	t.Run("switched off", func(t *testing.T) {
		g := NewWithT(t)
		flag := func(on bool) {
			z.must("PATCH", "/zones/"+z.ZoneID, object{"protocols": object{"oauth2": object{"dcr_enabled": on}}})
		}
		flag(false)
		defer flag(true)
		got := z.register(object{"redirect_uris": uris}, "")
		g.Expect(got.Status).To(Equal(403))
		g.Expect(got).To(refused("access_denied", "switched off in this zone"))
		g.Expect(z.do(z.request("GET", z.ZoneURL+"/.well-known/oauth-authorization-server", nil)).Body).NotTo(HaveKey("registration_endpoint"))
	})
}

func TestRegistrationErrors(t *testing.T) {
	z, _ := person(t)
	type object = map[string]any
	good := object{"redirect_uris": []string{callback}}
	redirects := func(uris ...string) object { return object{"redirect_uris": uris} }
	many := make([]string, 21)
	tests := map[string]struct {
		body        any
		contentType string
		error, want string
	}{
		"form":                     {"redirect_uris=x", "application/x-www-form-urlencoded", "invalid_client_metadata", "Content-Type must be application/json"},
		"no json":                  {"{", "", "invalid_client_metadata", "must be a JSON object"},
		"array":                    {"[]", "", "invalid_client_metadata", "must be a JSON object"},
		"trailing":                 {`{"redirect_uris":["` + callback + `"]} {}`, "", "invalid_client_metadata", "must be a JSON object"},
		"too large":                {`{"client_name":"` + strings.Repeat("x", 64<<10) + `"}`, "", "invalid_client_metadata", "larger than 65536 bytes"},
		"no redirect_uris":         {object{}, "", "invalid_redirect_uri", "redirect_uris is required"},
		"empty redirect_uris":      {redirects(), "", "invalid_redirect_uri", "redirect_uris is required"},
		"redirect_uris a string":   {object{"redirect_uris": "x"}, "", "invalid_client_metadata", "redirect_uris has the wrong type: it must be an array of strings"},
		"redirect_uris of numbers": {object{"redirect_uris": []int{1}}, "", "invalid_client_metadata", "redirect_uris has the wrong type"},
		"many redirect_uris":       {redirects(many...), "", "invalid_redirect_uri", "more than 20"},
		"second redirect_uri":      {redirects(callback, "http://app.example.com"), "", "invalid_redirect_uri", "redirect_uris[1] must be https, or http on a loopback address"},
		"fragment":                 {redirects("https://a.example/#f"), "", "invalid_redirect_uri", "must not have a fragment"},
		"empty fragment":           {redirects("https://a.example/#"), "", "invalid_redirect_uri", "must not have a fragment"},
		"relative":                 {redirects("/cb"), "", "invalid_redirect_uri", "no absolute URI"},
		"empty":                    {redirects(""), "", "invalid_redirect_uri", "no absolute URI"},
		"no host":                  {redirects("https:///cb"), "", "invalid_redirect_uri", "must be https"},
		"opaque":                   {redirects("https:cb"), "", "invalid_redirect_uri", "must be https"},
		"loopback look-alike":      {redirects("http://127.0.0.1.example.com/"), "", "invalid_redirect_uri", "loopback"},
		"javascript":               {redirects("javascript:alert(1)"), "", "invalid_redirect_uri", "has the scheme javascript"},
		"data":                     {redirects("data:text/html,x"), "", "invalid_redirect_uri", "has the scheme data"},
		"short private scheme":     {redirects("myapp:/cb"), "", "invalid_redirect_uri", "domain name in reverse"},
		"password":                 {redirects("https://a:b@a.example/"), "", "invalid_redirect_uri", "user or password"},
		"long":                     {redirects("https://a.example/" + strings.Repeat("a", 2048)), "", "invalid_redirect_uri", "longer than 2048"},
		"control character":        {redirects("https://a.example/\n"), "", "invalid_redirect_uri", "no absolute URI"},
		"method":                   {with(good, "token_endpoint_auth_method", "tls_client_auth"), "", "invalid_client_metadata", "token_endpoint_auth_method: tls_client_auth is not one of client_secret_basic"},
		"method a number":          {with(good, "token_endpoint_auth_method", 1), "", "invalid_client_metadata", "token_endpoint_auth_method has the wrong type: it must be a string"},
		"grant":                    {with(good, "grant_types", []string{"implicit"}), "", "invalid_client_metadata", "grant_types: implicit is not one of authorization_code"},
		"machine grant":            {with(good, "grant_types", []string{clientCredentials}), "", "invalid_client_metadata", "grant_types"},
		"response":                 {with(good, "response_types", []string{"token"}), "", "invalid_client_metadata", "response_types: token is not one of code"},
		"no keys":                  {with(good, "token_endpoint_auth_method", "private_key_jwt"), "", "invalid_client_metadata", "jwks_uri is required with private_key_jwt"},
		"jwks":                     {with(good, "jwks", object{"keys": []any{}}), "", "invalid_client_metadata", "jwks is not supported"},
		"jwks_uri":                 {with(good, "jwks_uri", "file:///etc/passwd"), "", "invalid_client_metadata", "jwks_uri must be an absolute http or https URL"},
		"name":                     {with(good, "client_name", "<b>"), "", "invalid_client_metadata", "client_name"},
		"long name":                {with(good, "client_name", strings.Repeat("n", 256)), "", "invalid_client_metadata", "client_name must be at most 255"},
		"scope":                    {with(good, "scope", `"`), "", "invalid_client_metadata", "scope holds a character"},
		"software statement":       {with(good, "software_statement", "x.y.z"), "", "invalid_client_metadata", "software_statement is not supported"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := z.register(tt.body, tt.contentType)
			g.Expect(got.Status).To(Equal(400), got.Raw)
			g.Expect(got).To(refused(tt.error, tt.want))
		})
	}
	t.Run("accepted redirects", func(t *testing.T) {
		got := z.register(redirects("https://a.example", "http://localhost:1/x", "http://[::1]/", "http://127.9.9.9/", "com.example.app:/cb"), "")
		NewWithT(t).Expect(got.Status).To(Equal(201), got.Raw)
	})
	t.Run("method", func(t *testing.T) {
		g := NewWithT(t)
		got := z.do(z.request("GET", z.ZoneURL+"/oauth/2/registration", nil))
		g.Expect(got.Status).To(Equal(405))
		g.Expect(got.Header.Get("Allow")).To(Equal("POST"))
	})
	NewWithT(t).Expect(z.must("GET", "/user-agents", nil)["items"]).To(HaveLen(1), "refused ones leave nothing behind")
}
