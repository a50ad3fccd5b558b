// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

const clientCredentials = "client_credentials"

// own registers a resource of the zone's own provider on which the seeded
// application depends, and which it owns if asked to.
func (z *zone) own(identifier string, owned bool, more map[string]any) (resourceID string) {
	z.t.Helper()
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	sts := z.must("GET", "/providers?type=keycard-sts", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	body := map[string]any{"identifier": identifier, "name": identifier, "credential_provider_id": sts}
	if owned {
		body["application_id"] = app
	}
	for k, v := range more {
		body[k] = v
	}
	id := z.must("POST", "/resources", body)["id"].(string)
	z.must("PUT", "/applications/"+app+"/dependencies/"+id, nil)
	return id
}

// claims verifies a zone token against the published keys.
func (z *zone) claims(token string) map[string]any {
	z.t.Helper()
	g := NewWithT(z.t)
	var keys jose.JSONWebKeySet
	resp, err := http.Get(z.ZoneURL + "/openidconnect/jwks")
	g.Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	g.Expect(jsonDecode(resp.Body, &keys)).To(Succeed())
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	g.Expect(err).NotTo(HaveOccurred())
	found := keys.Key(parsed.Headers[0].KeyID)
	g.Expect(found).To(HaveLen(1), "the kid names a published key")
	g.Expect(found[0].IsPublic()).To(BeTrue())
	out := map[string]any{}
	g.Expect(parsed.Claims(found[0], &out)).To(Succeed())
	return out
}

func TestMetadata(t *testing.T) {
	z := start(t, devzone.Config{})
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		t.Run(path, func(t *testing.T) {
			g := NewWithT(t)
			got := z.do(z.request("GET", z.ZoneURL+path, nil))
			g.Expect(got.Status).To(Equal(200))
			g.Expect(got.Body).To(And(
				HaveKeyWithValue("issuer", z.Issuer),
				HaveKeyWithValue("token_endpoint", z.Issuer+"/oauth/2/token"),
				HaveKeyWithValue("authorization_endpoint", z.Issuer+"/oauth/2/authorize"),
				HaveKeyWithValue("registration_endpoint", z.Issuer+"/oauth/2/registration"),
				HaveKeyWithValue("jwks_uri", z.Issuer+"/openidconnect/jwks"),
				HaveKeyWithValue("userinfo_endpoint", z.Issuer+"/openidconnect/userinfo"),
				HaveKeyWithValue("revocation_endpoint", z.Issuer+"/oauth/2/revoke"),
				HaveKeyWithValue("introspection_endpoint", z.Issuer+"/oauth/2/introspect"),
				HaveKeyWithValue("grant_types_supported", ConsistOf("authorization_code", "refresh_token", clientCredentials, tokenExchange)),
				HaveKeyWithValue("token_endpoint_auth_methods_supported", ConsistOf("client_secret_basic", "client_secret_post", "private_key_jwt", "none")),
				HaveKeyWithValue("token_endpoint_auth_signing_alg_values_supported", And(ContainElement("ES256"), Not(ContainElement("none")), Not(ContainElement("HS256")))),
				HaveKeyWithValue("code_challenge_methods_supported", ConsistOf("S256"))))
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	const team = "dev-only+a/b=%41"
	seeded := seed.Default()
	seeded.Applications[0].Credentials = append(seeded.Applications[0].Credentials, seed.Credential{Type: "password", Identifier: "reports@team", Password: team})
	z := start(t, devzone.Config{Seed: seeded})
	z.own("https://own.example.com", false, nil)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	odd := z.must("POST", "/application-credentials", map[string]any{"application_id": app, "type": "password", "identifier": "odd:cl%ient é"})
	z.must("POST", "/application-credentials", map[string]any{"application_id": app, "type": "public", "identifier": "pub"})
	doomed := z.must("POST", "/application-credentials", map[string]any{"application_id": app, "type": "password", "identifier": "doomed"})
	z.must("DELETE", "/application-credentials/"+doomed["id"].(string), nil)

	const password = "dev-only-reports-password"
	basic := func(raw string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(raw)) }
	tests := map[string]struct {
		header string
		form   url.Values
		status int
		code   string
		want   string
	}{
		"basic":                 {header: basic("reports:" + password), status: 200},
		"basic lower case":      {header: "basic" + basic("reports:" + password)[5:], status: 200},
		"basic with client_id":  {header: basic("reports:" + password), form: url.Values{"client_id": {"reports"}}, status: 200},
		"basic urlencoded":      {header: basic(url.QueryEscape("odd:cl%ient é") + ":" + url.QueryEscape(odd["password"].(string))), status: 200},
		"basic odd, as it is":   {header: basic("reports@team:" + team), status: 200},
		"basic odd, urlencoded": {header: basic("reports%40team:" + url.QueryEscape(team)), status: 200},
		"basic odd, client_id":  {header: basic("reports%40team:" + url.QueryEscape(team)), form: url.Values{"client_id": {"reports@team"}}, status: 200},
		"post odd":              {form: url.Values{"client_id": {"reports@team"}, "client_secret": {team}}, status: 200},
		"post":                  {form: url.Values{"client_id": {"reports"}, "client_secret": {password}}, status: 200},
		"basic odd, half way":   {header: basic("reports%40team:" + team), status: 401, code: "invalid_client"},
		"basic wrong secret":    {header: basic("reports:no"), status: 401, code: "invalid_client"},
		"basic unknown client":  {header: basic("nobody:" + password), status: 401, code: "invalid_client"},
		"basic no colon":        {header: basic("reports"), status: 401, code: "invalid_client", want: "client_id:client_secret"},
		"basic bad escape":      {header: basic("reports:%zz"), status: 401, code: "invalid_client", want: "wrong client secret"},
		"basic bad base64":      {header: "Basic !!", status: 401, code: "invalid_client", want: "base64"},
		"bearer":                {header: "Bearer x", status: 401, code: "invalid_client", want: "Basic scheme"},
		"post wrong secret":     {form: url.Values{"client_id": {"reports"}, "client_secret": {"no"}}, status: 401, code: "invalid_client"},
		"post without secret":   {form: url.Values{"client_id": {"reports"}}, status: 401, code: "invalid_client", want: "authentication is required"},
		"nothing":               {status: 401, code: "invalid_client", want: "authentication is required"},
		"public client":         {form: url.Values{"client_id": {"pub"}, "client_secret": {"x"}}, status: 401, code: "invalid_client"},
		"deleted credential":    {header: basic("doomed:" + doomed["password"].(string)), status: 401, code: "invalid_client"},
		"application id":        {form: url.Values{"client_id": {app}, "client_secret": {password}}, status: 401, code: "invalid_client"},
		"assertion":             {form: url.Values{"client_assertion": {"x"}}, status: 400, code: "invalid_request", want: "client_assertion_type is required"},
		"two ways":              {header: basic("reports:" + password), form: url.Values{"client_secret": {password}}, status: 400, code: "invalid_request", want: "one way"},
		"two ways by assertion": {header: basic("reports:" + password), form: url.Values{"client_assertion": {"x"}}, status: 400, code: "invalid_request", want: "one way"},
		"contradicting ids":     {header: basic("reports:" + password), form: url.Values{"client_id": {"other"}}, status: 400, code: "invalid_request", want: "differs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			form := url.Values{"grant_type": {clientCredentials}, "resource": {"https://own.example.com"}}
			for k, v := range tt.form {
				form[k] = v
			}
			req := z.request("POST", z.ZoneURL+"/oauth/2/token", form.Encode())
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tt.header != "" {
				req.Header.Set("Authorization", tt.header)
			}
			got := z.do(req)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))
			if tt.status == 200 {
				return
			}
			g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", ContainSubstring(tt.want)),
				HaveKeyWithValue("requestId", HaveLen(26))))
			g.Expect(got.Raw).NotTo(ContainSubstring(password))
			if tt.status == 401 {
				g.Expect(got.Header.Get("WWW-Authenticate")).To(Equal(`Basic realm="` + z.Issuer + `"`))
			}
		})
	}
}

func TestTokenRequestForm(t *testing.T) {
	z := start(t, devzone.Config{})
	z.own("https://own.example.com", false, nil)
	good := url.Values{"grant_type": {clientCredentials}, "resource": {"https://own.example.com"}}
	tests := map[string]struct {
		method, query, contentType, body string
		status                           int
		code, want                       string
	}{
		"good":               {body: good.Encode(), status: 200},
		"charset":            {body: good.Encode(), contentType: "application/x-www-form-urlencoded; charset=UTF-8", status: 200},
		"empty parameter":    {body: good.Encode() + "&scope=&audience=", status: 200},
		"unknown parameter":  {body: good.Encode() + "&extra=1", status: 200},
		"get":                {method: "GET", status: 405, code: "invalid_request", want: "POST only"},
		"json":               {body: `{"grant_type":"client_credentials"}`, contentType: "application/json", status: 400, code: "invalid_request", want: "Content-Type"},
		"query":              {query: "?resource=x", body: good.Encode(), status: 400, code: "invalid_request", want: "not in the URL"},
		"repeated":           {body: good.Encode() + "&resource=b", status: 400, code: "invalid_request", want: "given once: resource"},
		"repeated grant":     {body: good.Encode() + "&grant_type=b", status: 400, code: "invalid_request", want: "given once: grant_type"},
		"malformed":          {body: "grant_type=%zz", status: 400, code: "invalid_request", want: "not form-encoded"},
		"semicolon":          {body: "grant_type=a;b=c", status: 400, code: "invalid_request", want: "not form-encoded"},
		"too large":          {body: "a=" + strings.Repeat("x", 64<<10), status: 400, code: "invalid_request", want: "larger than"},
		"no grant type":      {body: "resource=x", status: 400, code: "invalid_request", want: "grant_type is required"},
		"authorization code": {body: "grant_type=authorization_code", status: 400, code: "invalid_request", want: "code is required"},
		"refresh token":      {body: "grant_type=refresh_token", status: 400, code: "invalid_request", want: "refresh_token is required"},
		"password":           {body: "grant_type=password", status: 400, code: "unsupported_grant_type", want: "one of authorization_code"},
		"bad scope":          {body: good.Encode() + "&scope=%22a%22", status: 400, code: "invalid_scope"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tt.method == "" {
				tt.method = "POST"
			}
			if tt.contentType == "" {
				tt.contentType = "application/x-www-form-urlencoded"
			}
			req := z.request(tt.method, z.ZoneURL+"/oauth/2/token"+tt.query, tt.body)
			req.Header.Set("Content-Type", tt.contentType)
			req.SetBasicAuth("reports", "dev-only-reports-password")
			got := z.do(req)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status != 200 {
				g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", ContainSubstring(tt.want))))
			}
			g.Expect(got.Header.Get("Allow") == "POST").To(Equal(tt.status == 405))
		})
	}
}

func TestZonesByHost(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{Issuer: "https://zn-demo.keycard.test"})
	g.Expect(z.Issuer).To(Equal("https://zn-demo.keycard.test"))
	id := z.must("POST", "/zones", map[string]any{"name": "Second"})["id"].(string)
	at := func(host, path string) reply {
		req := z.request("GET", z.ZoneURL+path, nil)
		req.Host = host
		return z.do(req)
	}
	const path = "/.well-known/oauth-authorization-server"
	g.Expect(at(id+".keycard.test", path).Body).To(HaveKeyWithValue("issuer", "https://"+id+".keycard.test"))
	for _, host := range []string{"zn-demo.keycard.test", "anything.else", "localhost:1", "127.0.0.1", id, "nope.keycard.test"} {
		g.Expect(at(host, path).Body).To(HaveKeyWithValue("issuer", z.Issuer), host)
	}
	keys := func(host string) any { return at(host, "/openidconnect/jwks").Body["keys"] }
	g.Expect(keys(id+".keycard.test")).NotTo(Equal(keys("zn-demo.keycard.test")), "each zone has its own key")
	g.Expect(keys("zn-demo.keycard.test")).To(ConsistOf(And(HaveKeyWithValue("alg", "RS256"), HaveKeyWithValue("use", "sig"),
		HaveKeyWithValue("kty", "RSA"), HaveKey("kid"), HaveKey("n"), HaveKey("e"), Not(HaveKey("d")))))

	req := z.request("POST", z.ZoneURL+"/oauth/2/token", "grant_type=client_credentials")
	req.Host = id + ".keycard.test"
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", "dev-only-reports-password")
	g.Expect(z.do(req).Body).To(HaveKeyWithValue("error", "invalid_client"), "clients do not cross zones")
}
