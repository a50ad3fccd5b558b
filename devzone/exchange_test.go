// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"

	"github.com/keycardai/keycard-operator/devzone/clock"
)

func TestClientCredentials(t *testing.T) {
	g := NewWithT(t)
	c := clock.New()
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

	g.Expect(ask("https://own.example.com", "unknown").Body).To(HaveKeyWithValue("scope", ""), "nothing of what was asked for")

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
	c := clock.New()
	z := start(t, devzone.Config{Clock: c.Now})
	z.install(nil)
	mine := z.own("https://mine.example.com", true, nil)
	z.own("https://other.example.com", false, nil)
	theirs := z.must("POST", "/applications", kinds["/applications"])["id"]
	z.own("https://theirs.example.com", false, map[string]any{"application_id": theirs})
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
	notMine := issue("https://theirs.example.com")
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
		"another owner":           {token: notMine, status: 400, code: "invalid_grant", want: "Client is not allowed to exchange token for this resource"},
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
}

func TestWhenAccessingDoesNotApplyToImpersonation(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	mine := z.own("https://mine.example.com", true, nil)
	reached := z.own("https://reached.example.com", false, nil)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	g.Expect(z.exchange(impersonation("alice@example.com", "https://reached.example.com")).Status).To(Equal(200))
	z.must("PUT", "/applications/"+app+"/dependencies/"+reached+"?when_accessing="+mine, nil)
	g.Expect(z.exchange(impersonation("alice@example.com", "https://reached.example.com")).Body).To(HaveKeyWithValue("error", "access_denied"))
}

func TestSubjectTokenExpires(t *testing.T) {
	g := NewWithT(t)
	c := clock.New()
	z := start(t, devzone.Config{Clock: c.Now})
	z.own("https://mine.example.com", true, nil)
	form := impersonation("alice@example.com", "https://mine.example.com")
	form.Set("subject_token", z.exchange(form).Body["access_token"].(string))
	form.Set("subject_token_type", accessToken)
	c.Advance(time.Hour - time.Second)
	g.Expect(z.exchange(form).Status).To(Equal(200))
	c.Advance(time.Second)
	g.Expect(z.exchange(form).Body).To(And(HaveKeyWithValue("error", "invalid_grant"), HaveKeyWithValue("error_description", ContainSubstring("expired"))))
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
		"not permitted": {
			token: part(header) + "." + part(`{"sub":"carol@example.com"}`) + ".", code: "access_denied",
			want: "Access denied by policy. Policy set: seed-zone-policies. Policy set version: 1. Determining policies: default-user-grants.",
		},
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
