// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/devzone"
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
				HaveKeyWithValue("grant_types_supported", ConsistOf(clientCredentials, tokenExchange)),
				HaveKeyWithValue("token_endpoint_auth_methods_supported", ConsistOf("client_secret_basic", "client_secret_post")),
				HaveKeyWithValue("code_challenge_methods_supported", ConsistOf("S256"))))
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	z := start(t, devzone.Config{})
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
		"post":                  {form: url.Values{"client_id": {"reports"}, "client_secret": {password}}, status: 200},
		"basic wrong secret":    {header: basic("reports:no"), status: 401, code: "invalid_client"},
		"basic unknown client":  {header: basic("nobody:" + password), status: 401, code: "invalid_client"},
		"basic no colon":        {header: basic("reports"), status: 401, code: "invalid_client", want: "client_id:client_secret"},
		"basic bad escape":      {header: basic("reports:%zz"), status: 401, code: "invalid_client", want: "form-urlencoded"},
		"basic bad base64":      {header: "Basic !!", status: 401, code: "invalid_client", want: "base64"},
		"bearer":                {header: "Bearer x", status: 401, code: "invalid_client", want: "Basic scheme"},
		"post wrong secret":     {form: url.Values{"client_id": {"reports"}, "client_secret": {"no"}}, status: 401, code: "invalid_client"},
		"post without secret":   {form: url.Values{"client_id": {"reports"}}, status: 401, code: "invalid_client", want: "authentication is required"},
		"nothing":               {status: 401, code: "invalid_client", want: "authentication is required"},
		"public client":         {form: url.Values{"client_id": {"pub"}, "client_secret": {"x"}}, status: 401, code: "invalid_client"},
		"deleted credential":    {header: basic("doomed:" + doomed["password"].(string)), status: 401, code: "invalid_client"},
		"application id":        {form: url.Values{"client_id": {app}, "client_secret": {password}}, status: 401, code: "invalid_client"},
		"assertion":             {form: url.Values{"client_assertion": {"x"}}, status: 401, code: "invalid_client", want: "client_assertion is not supported"},
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
		"authorization code": {body: "grant_type=authorization_code", status: 400, code: "unsupported_grant_type"},
		"refresh token":      {body: "grant_type=refresh_token", status: 400, code: "unsupported_grant_type"},
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

func TestClientCredentials(t *testing.T) {
	g := NewWithT(t)
	c := newClock()
	z := start(t, devzone.Config{Clock: c.Now})
	z.install(nil)
	z.own("https://own.example.com", false, map[string]any{"scopes": []string{"read", "write"}, "prefix": true, "credential_lifetime_seconds": 120})
	z.own("https://own.example.com/deep", false, map[string]any{"prefix": true})
	z.must("POST", "/resources", map[string]any{"identifier": "https://foreign.example.com", "name": "Foreign"})
	ask := func(resource, scope string) reply {
		return z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {resource}, "scope": {scope}})
	}

	got := ask("https://own.example.com", "read unknown")
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(got.Body).To(And(HaveKeyWithValue("expires_in", BeNumerically("==", 120)), HaveKeyWithValue("scope", "read")))
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"]
	now := float64(c.Now().Unix())
	g.Expect(z.claims(got.Body["access_token"].(string))).To(And(
		HaveKeyWithValue("iss", z.Issuer), HaveKeyWithValue("sub", "reports"), HaveKeyWithValue("client_id", "reports"),
		HaveKeyWithValue("aud", "https://own.example.com"), HaveKeyWithValue("keycard_app_id", app),
		HaveKeyWithValue("sub_profile", "app"), HaveKeyWithValue("scope", "read"), HaveKey("jti"),
		HaveKeyWithValue("iat", now), HaveKeyWithValue("exp", now+120)))

	plain := ask("https://own.example.com/deep/er?x=1", "")
	g.Expect(plain.Body).To(And(HaveKeyWithValue("expires_in", BeNumerically("==", 3600)), Not(HaveKey("scope"))))
	g.Expect(z.claims(plain.Body["access_token"].(string))).To(And(Not(HaveKey("scope")),
		HaveKeyWithValue("aud", "https://own.example.com/deep")), "the longest prefix wins")

	for name, tt := range map[string]struct {
		resource     string
		status       int
		code, denied string
	}{
		"no resource":     {"", 400, "invalid_request", "resource is required"},
		"unknown":         {"https://unknown.example.com", 400, "invalid_target", "Requested authorization for unknown resource"},
		"no boundary":     {"https://own.example.community", 400, "invalid_target", "Requested authorization"},
		"trailing slash":  {confluence + "/", 400, "invalid_target", "Requested authorization"},
		"no dependency":   {"https://foreign.example.com", 400, "access_denied", `Application "Reports" is not allowed to access "https://foreign.example.com".`},
		"external":        {confluence, 400, "unauthorized_client", "use token exchange"},
		"provider absent": {"https://bare.example.com", 500, "server_error", `Resource "https://bare.example.com" is missing a credential provider`},
	} {
		if name == "provider absent" {
			z.own(tt.resource, false, map[string]any{"credential_provider_id": nil})
		}
		got := ask(tt.resource, "")
		g.Expect(got.Status).To(Equal(tt.status), name+": "+got.Raw)
		g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", ContainSubstring(tt.denied))), name)
	}
}

func TestDelegation(t *testing.T) {
	c := newClock()
	z := start(t, devzone.Config{Clock: c.Now})
	z.install(nil)
	mine := z.own("https://mine.example.com", true, nil)
	z.own("https://other.example.com", false, nil)
	reached := z.own("https://reached.example.com", false, nil)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	z.must("PUT", "/applications/"+app+"/dependencies/"+reached+"?when_accessing="+mine, nil)

	g := NewWithT(t)
	issue := func(resource string) string {
		got := z.exchange(impersonation("alice@example.com", resource))
		g.Expect(got.Status).To(Equal(200), got.Raw)
		return got.Body["access_token"].(string)
	}
	user := issue("https://mine.example.com")
	g.Expect(z.claims(user)).To(And(HaveKeyWithValue("sub", "alice@example.com"), HaveKeyWithValue("sub_profile", "user"),
		HaveKeyWithValue("client_id", "reports"), Not(HaveKey("act")), Not(HaveKey("keycard_app_id"))))
	foreign := issue("https://other.example.com")
	own := z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {"https://mine.example.com"}}).Body["access_token"].(string)
	tampered := user[:len(user)-6] + "AAAAAA"

	delegate := func(token string, more ...string) reply {
		form := url.Values{"grant_type": {tokenExchange}, "subject_token": {token}, "subject_token_type": {accessToken}, "resource": {confluence}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return z.exchange(form)
	}
	const jwtType = "urn:ietf:params:oauth:token-type:jwt"
	tests := map[string]struct {
		token  string
		more   []string
		status int
		code   string
		want   string
	}{
		"external":                {token: user, status: 200},
		"own":                     {token: user, more: []string{"resource", "https://mine.example.com", "requested_token_type", jwtType}, status: 200},
		"through the resource":    {token: user, more: []string{"resource", "https://reached.example.com"}, status: 200},
		"jwt type":                {token: user, more: []string{"subject_token_type", jwtType}, status: 200},
		"with actor":              {token: user, more: []string{"resource", "https://mine.example.com", "actor_token", own, "actor_token_type", accessToken}, status: 200},
		"not the owner":           {token: foreign, status: 400, code: "invalid_grant", want: "Client is not allowed to exchange token for this resource"},
		"application's own token": {token: own, status: 400, code: "invalid_grant", want: "not issued for a user"},
		"bad signature":           {token: tampered, status: 400, code: "invalid_grant", want: "signature"},
		"no token":                {token: "", status: 400, code: "invalid_request", want: "subject_token is required"},
		"no jwt":                  {token: "opaque", status: 400, code: "invalid_request", want: "subject_token is malformed"},
		"no type":                 {token: user, more: []string{"subject_token_type", ""}, status: 400, code: "invalid_request", want: "subject_token_type is required"},
		"other type":              {token: user, more: []string{"subject_token_type", "urn:ietf:params:oauth:token-type:saml2"}, status: 400, code: "invalid_request", want: "not supported"},
		"no resource":             {token: user, more: []string{"resource", ""}, status: 400, code: "invalid_request", want: "resource is required"},
		"unknown resource":        {token: user, more: []string{"resource", "x"}, status: 400, code: "invalid_target", want: "unknown resource"},
		"requested type":          {token: user, more: []string{"requested_token_type", "urn:x"}, status: 400, code: "invalid_request", want: "requested_token_type"},
		"jwt of external":         {token: user, more: []string{"requested_token_type", jwtType}, status: 400, code: "invalid_request", want: "requested_token_type"},
		"actor without type":      {token: user, more: []string{"actor_token", own}, status: 400, code: "invalid_request", want: "together"},
		"actor of another type":   {token: user, more: []string{"actor_token", own, "actor_token_type", "urn:x"}, status: 400, code: "invalid_request", want: "actor_token_type"},
		"actor is a user":         {token: user, more: []string{"actor_token", user, "actor_token_type", accessToken}, status: 400, code: "invalid_grant", want: "actor_token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := delegate(tt.token, tt.more...)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status != 200 {
				g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", ContainSubstring(tt.want))))
				return
			}
			g.Expect(got.Body).To(HaveKey("issued_token_type"))
			if name == "with actor" {
				g.Expect(z.claims(got.Body["access_token"].(string))).To(HaveKeyWithValue("act", HaveKeyWithValue("sub", "reports")))
			}
		})
	}
	t.Run("when_accessing does not apply to impersonation", func(t *testing.T) {
		got := z.exchange(impersonation("alice@example.com", "https://reached.example.com"))
		NewWithT(t).Expect(got.Body).To(HaveKeyWithValue("error", "access_denied"))
	})
	t.Run("expired", func(t *testing.T) {
		c.advance(time.Hour)
		got := delegate(user)
		NewWithT(t).Expect(got.Body).To(And(HaveKeyWithValue("error", "invalid_grant"), HaveKeyWithValue("error_description", ContainSubstring("expired"))))
	})
}

func TestImpersonation(t *testing.T) {
	z := start(t, devzone.Config{})
	z.install(nil)
	z.must("POST", "/resources", map[string]any{"identifier": "https://foreign.example.com", "name": "Foreign"})
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	const header = `{"typ":"vnd.kc.su+jwt","alg":"none"}`
	alice := part(`{"sub":"alice@example.com"}`)
	tests := map[string]struct {
		token    string
		resource string
		code     string
		want     string
	}{
		"order of keys":     {token: part(`{"alg":"none","typ":"vnd.kc.su+jwt"}`) + "." + alice + "."},
		"no final dot":      {token: part(header) + "." + alice, code: "invalid_request"},
		"signature":         {token: part(header) + "." + alice + ".x", code: "invalid_request"},
		"signed algorithm":  {token: part(`{"typ":"vnd.kc.su+jwt","alg":"RS256"}`) + "." + alice + ".", code: "invalid_request"},
		"other type":        {token: part(`{"typ":"JWT","alg":"none"}`) + "." + alice + ".", code: "invalid_request"},
		"padding":           {token: base64.URLEncoding.EncodeToString([]byte(header)) + "=." + alice + ".", code: "invalid_request"},
		"more claims":       {token: part(header) + "." + part(`{"sub":"alice@example.com","exp":1}`) + ".", code: "invalid_request"},
		"no sub":            {token: part(header) + "." + part(`{}`) + ".", code: "invalid_request"},
		"sub of wrong type": {token: part(header) + "." + part(`{"sub":1}`) + ".", code: "invalid_request"},
		"trailing json":     {token: part(header) + "." + part(`{"sub":"a"}{}`) + ".", code: "invalid_request"},
		"not json":          {token: part("x") + "." + part("y") + ".", code: "invalid_request"},
		"unknown resource":  {resource: "https://x", code: "invalid_target", want: "Requested authorization for unknown resource"},
		"no dependency":     {resource: "https://foreign.example.com", code: "access_denied", want: `Application "Reports" is not allowed to access`},
		"unknown user":      {token: part(header) + "." + part(`{"sub":"mallory@example.com"}`) + ".", code: "invalid_grant"},
		"case of the user":  {token: part(header) + "." + part(`{"sub":"Alice@example.com"}`) + ".", code: "invalid_grant"},
		"not permitted": {token: part(header) + "." + part(`{"sub":"carol@example.com"}`) + ".", code: "access_denied",
			want: "Access denied by policy. Policy set: default-zone-policies. Policy set version: 1. Determining policies: default-user-grants."},
		"no consent": {token: part(header) + "." + part(`{"sub":"bob@example.com"}`) + ".", code: "insufficient_authorization", want: "User consent is required"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			form := impersonation("alice@example.com", confluence)
			if tt.token != "" {
				form.Set("subject_token", tt.token)
			}
			if tt.resource != "" {
				form.Set("resource", tt.resource)
			}
			got := z.exchange(form)
			if tt.code == "" {
				g.Expect(got.Status).To(Equal(200), got.Raw)
				return
			}
			g.Expect(got.Status).To(Equal(400), got.Raw)
			g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKeyWithValue("error_description", ContainSubstring(tt.want))))
		})
	}
}

// TestImpersonationOrder breaks one more precondition at a time, from the last
// to the first, and expects the earliest to decide.
func TestImpersonationOrder(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	_, resource := z.install(nil)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	form := impersonation("bob@example.com", confluence)
	expect := func(code string) {
		t.Helper()
		g.Expect(z.exchange(form).Body).To(HaveKeyWithValue("error", code))
	}
	expect("insufficient_authorization")
	form.Set("subject_token", impersonation("carol@example.com", "")["subject_token"][0])
	expect("access_denied")
	form.Set("subject_token", impersonation("mallory@example.com", "")["subject_token"][0])
	expect("invalid_grant")
	z.must("DELETE", "/applications/"+app+"/dependencies/"+resource, nil)
	expect("access_denied")
	form.Set("resource", "https://x")
	expect("invalid_target")
	form.Set("subject_token", "x")
	expect("invalid_request")
	z.must("DELETE", "/application-credentials/"+z.must("GET", "/application-credentials", nil)["items"].([]any)[0].(map[string]any)["id"].(string), nil)
	expect("invalid_client")
}

func TestUnauthorizedClientSwitch(t *testing.T) {
	z := start(t, devzone.Config{UnauthorizedClientDenial: true})
	z.install(nil)
	NewWithT(t).Expect(z.impersonate("carol@example.com").Body).To(And(HaveKeyWithValue("error", "unauthorized_client"),
		HaveKeyWithValue("error_description", ContainSubstring("Access denied by policy"))))
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
