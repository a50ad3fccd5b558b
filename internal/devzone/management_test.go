// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/devzone"
	"github.com/keycardai/keycard-operator/internal/devzone/seed"
)

func TestServiceAccountToken(t *testing.T) {
	z := start(t, devzone.Config{})
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {"operator"}, "client_secret": {"dev-only-operator-secret"}}
	with := func(name string, values ...string) string {
		f := url.Values{}
		for k, v := range good {
			f[k] = v
		}
		f[name] = values
		return f.Encode()
	}
	tests := map[string]struct {
		body, contentType, user, password string
		status                            int
		code                              string
	}{
		"form":               {body: good.Encode(), status: 200},
		"basic":              {body: "grant_type=client_credentials", user: "operator", password: "dev-only-operator-secret", status: 200},
		"wrong secret":       {body: with("client_secret", "no"), status: 401, code: "invalid_client"},
		"unknown client":     {body: with("client_id", "no"), status: 401, code: "invalid_client"},
		"no client":          {body: "grant_type=client_credentials", status: 401, code: "invalid_client"},
		"wrong basic":        {body: "grant_type=client_credentials", user: "operator", password: "no", status: 401, code: "invalid_client"},
		"both ways":          {body: good.Encode(), user: "operator", password: "dev-only-operator-secret", status: 400, code: "invalid_request"},
		"no grant type":      {body: with("grant_type", ""), status: 400, code: "invalid_request"},
		"other grant type":   {body: with("grant_type", "password"), status: 400, code: "unsupported_grant_type"},
		"repeated parameter": {body: with("client_id", "operator", "operator"), status: 400, code: "invalid_request"},
		"json":               {body: "{}", contentType: "application/json", status: 400, code: "invalid_request"},
		"malformed":          {body: "a=%zz", status: 400, code: "invalid_request"},
		"too large":          {body: "a=" + strings.Repeat("x", 1<<20), status: 400, code: "invalid_request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			req := z.request("POST", z.APIURL+"/service-account-token", tt.body)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tt.contentType != "" {
				req.Header.Set("Content-Type", tt.contentType)
			}
			if tt.user != "" {
				req.SetBasicAuth(tt.user, tt.password)
			}
			got := z.do(req)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))
			if tt.status == 200 {
				g.Expect(got.Body).To(And(HaveKey("access_token"), HaveKeyWithValue("token_type", "Bearer"),
					HaveKeyWithValue("expires_in", BeNumerically("==", 3600))))
				return
			}
			g.Expect(got.Body).To(And(HaveKeyWithValue("error", tt.code), HaveKey("error_description")))
			if tt.status == 401 {
				g.Expect(got.Header.Get("WWW-Authenticate")).To(HavePrefix("Basic "))
			}
		})
	}
}

func TestManagementAuthentication(t *testing.T) {
	c := newClock()
	s := seed.Default()
	s.ServiceAccounts = append(s.ServiceAccounts,
		seed.ServiceAccount{ClientID: "auditor", ClientSecret: "dev-only-auditor-secret", Role: "zone_viewer"})
	z := start(t, devzone.Config{Clock: c.Now, Seed: s})
	get := func(authorization string) reply {
		req := z.request("GET", z.APIURL+"/zones", nil)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		return z.do(req)
	}
	g := NewWithT(t)
	for _, header := range []string{"", "Bearer", "Bearer wrong", "Basic " + z.token} {
		got := get(header)
		g.Expect(got.Status).To(Equal(401), header)
		g.Expect(got.Body).To(And(HaveKeyWithValue("code", "unauthorized"),
			HaveKeyWithValue("status", BeNumerically("==", 401)), HaveKey("message")))
		g.Expect(got.Header.Get("WWW-Authenticate")).To(Equal("Bearer"))
	}
	g.Expect(get("bearer " + z.token).Status).To(Equal(200))

	c.advance(time.Hour)
	g.Expect(get("Bearer "+z.token).Status).To(Equal(401), "the token lives one hour")

	z.token = z.login("auditor", "dev-only-auditor-secret")
	g.Expect(z.api("GET", "/providers", nil).Status).To(Equal(200))
	refused := z.api("POST", "/providers", map[string]any{"identifier": "p", "name": "P"})
	g.Expect(refused.Status).To(Equal(403))
	g.Expect(refused.Body).To(HaveKeyWithValue("code", "forbidden"))
}

// kinds are the object kinds with the five usual endpoints.
var kinds = map[string]map[string]any{
	"/providers":    {"identifier": "https://idp.example.com", "name": "Provider"},
	"/resources":    {"identifier": "https://api.example.com", "name": "Resource"},
	"/applications": {"identifier": "urn:app:x", "name": "Application"},
}

func TestObjectLifecycle(t *testing.T) {
	z := start(t, devzone.Config{})
	for path, body := range kinds {
		t.Run(path, func(t *testing.T) {
			g := NewWithT(t)
			created := z.must("POST", path, body)
			g.Expect(created).To(And(
				HaveKeyWithValue("identifier", body["identifier"]), HaveKeyWithValue("name", body["name"]),
				HaveKeyWithValue("description", BeNil()), HaveKeyWithValue("owner_type", "customer"),
				HaveKeyWithValue("organization_id", "org-devzone"), HaveKeyWithValue("zone_id", z.ZoneID),
				HaveKeyWithValue("slug", MatchRegexp(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)),
				HaveKeyWithValue("created_at", MatchRegexp(`^20.*Z$`)), HaveKey("updated_at")))
			id := created["id"].(string)

			duplicate := z.api("POST", path, body)
			g.Expect(duplicate.Status).To(Equal(409))
			g.Expect(duplicate.Header.Get("x-should-retry")).To(Equal("false"))
			g.Expect(duplicate.Body).To(And(HaveKeyWithValue("code", "conflict"),
				HaveKeyWithValue("message", ContainSubstring("identifier is already in use"))))

			g.Expect(z.must("GET", path+"/"+id, nil)).To(Equal(created))
			found := z.must("GET", path+"?identifier="+url.QueryEscape(body["identifier"].(string)), nil)
			g.Expect(found["items"]).To(HaveLen(1))
			g.Expect(z.must("GET", path+"?identifier=other", nil)["items"]).To(BeEmpty())
			g.Expect(z.must("GET", path+"?slug="+created["slug"].(string), nil)["items"]).To(HaveLen(1))

			patched := z.must("PATCH", path+"/"+id, map[string]any{"description": "mine", "unknown_field": 1})
			g.Expect(patched).To(And(HaveKeyWithValue("description", "mine"), HaveKeyWithValue("name", body["name"])))
			patched = z.must("PATCH", path+"/"+id, map[string]any{"description": nil, "name": "Renamed"})
			g.Expect(patched).To(And(HaveKeyWithValue("description", BeNil()), HaveKeyWithValue("name", "Renamed"),
				HaveKeyWithValue("slug", created["slug"])))

			gone := z.api("DELETE", path+"/"+id, nil)
			g.Expect(gone.Status).To(Equal(204))
			g.Expect(gone.Raw).To(BeEmpty())
			for _, method := range []string{"GET", "DELETE"} {
				g.Expect(z.api(method, path+"/"+id, nil).Status).To(Equal(404))
			}
			g.Expect(z.api("PATCH", path+"/"+id, map[string]any{}).Status).To(Equal(404))
			z.must("POST", path, body)
		})
	}
}

func TestObjectValidation(t *testing.T) {
	z := start(t, devzone.Config{})
	long := func(n int) string { return strings.Repeat("é", n) }
	tests := map[string]struct {
		field string
		value any
		want  string
	}{
		"identifier missing":     {"identifier", nil, "identifier: must not be null"},
		"identifier empty":       {"identifier", "", "identifier: must be 1 to 2048 characters long, got 0"},
		"identifier too long":    {"identifier", long(2049), "identifier: must be 1 to 2048 characters long, got 2049"},
		"identifier number":      {"identifier", 7, "identifier: must be a string, got a number"},
		"identifier markup":      {"identifier", "<b>x</b>", "identifier: must not contain HTML tags"},
		"identifier control":     {"identifier", "a\nb", "identifier: must not contain control characters"},
		"name too long":          {"name", long(256), "name: must be 1 to 255 characters long, got 256"},
		"name list":              {"name", []string{"a"}, "name: must be a string, got an array"},
		"name script":            {"name", "x<script src=y>", "name: must not contain HTML tags"},
		"description too long":   {"description", long(2049), "description: must be 0 to 2048 characters long"},
		"description object":     {"description", map[string]any{}, "description: must be a string, got an object"},
		"metadata other key":     {"metadata", map[string]any{"docs_url": "https://d.example", "owner": "me"}, "metadata.owner: is not a known key"},
		"metadata no url":        {"metadata", map[string]any{"docs_url": "javascript:alert(1)"}, "metadata.docs_url: must be an absolute http or https URL"},
		"metadata wrong type":    {"metadata", "x", "metadata: must be an object, got a string"},
		"metadata docs_url type": {"metadata", map[string]any{"docs_url": true}, "metadata.docs_url: must be a string, got a boolean"},
	}
	for path, body := range kinds {
		existing := z.must("POST", path, map[string]any{"identifier": "existing", "name": "Existing"})["id"].(string)
		for name, tt := range tests {
			t.Run(path+" "+name, func(t *testing.T) {
				g := NewWithT(t)
				changed := map[string]any{}
				for k, v := range body {
					changed[k] = v
				}
				changed[tt.field] = tt.value
				for _, got := range []reply{
					z.api("POST", path, changed),
					z.api("PATCH", path+"/"+existing, map[string]any{tt.field: tt.value}),
				} {
					g.Expect(got.Status).To(Equal(400), got.Raw)
					g.Expect(got.Body).To(And(HaveKeyWithValue("code", "bad_request"),
						HaveKeyWithValue("message", ContainSubstring(tt.want))))
				}
			})
		}
		t.Run(path+" limits are inclusive", func(t *testing.T) {
			z.must("PATCH", path+"/"+existing, map[string]any{"identifier": long(2048), "name": long(255), "description": long(2048)})
		})
		t.Run(path+" required", func(t *testing.T) {
			g := NewWithT(t)
			got := z.api("POST", path, map[string]any{})
			g.Expect(got.Status).To(Equal(400))
			g.Expect(got.Body["message"]).To(Equal("identifier: is required; name: is required"))
		})
	}
}

func TestSpecificValidation(t *testing.T) {
	z := start(t, devzone.Config{})
	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	oauth2 := func(name string, value any) map[string]any {
		return map[string]any{"identifier": "i", "name": "n", "protocols": map[string]any{"oauth2": map[string]any{name: value}}}
	}
	field := func(name string, value any) map[string]any {
		return map[string]any{"identifier": "i", "name": "n", name: value}
	}
	credential := func(pairs ...any) map[string]any {
		out := map[string]any{"application_id": app}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	tests := map[string]struct {
		path string
		body any
		want string
	}{
		"endpoint":               {"/providers", oauth2("token_endpoint", "not a url"), "protocols.oauth2.token_endpoint: must be an absolute http or https URL"},
		"endpoint type":          {"/providers", oauth2("authorization_endpoint", 1), "protocols.oauth2.authorization_endpoint: must be a string, got a number"},
		"issuer null":            {"/providers", oauth2("issuer", nil), "protocols.oauth2.issuer: must not be null"},
		"parameters type":        {"/providers", oauth2("authorization_parameters", map[string]any{"a": 1}), "protocols.oauth2.authorization_parameters: must be an object of strings"},
		"parameters null":        {"/providers", oauth2("authorization_parameters", map[string]any{"a": nil}), "protocols.oauth2.authorization_parameters: must be an object of strings"},
		"scopes_supported":       {"/providers", oauth2("scopes_supported", []any{"a", nil}), "protocols.oauth2.scopes_supported: must be an array of strings"},
		"resource enabled":       {"/providers", oauth2("authorization_resource_enabled", "yes"), "protocols.oauth2.authorization_resource_enabled: must be a boolean, got a string"},
		"protocols type":         {"/providers", field("protocols", []string{}), "protocols: must be an object, got an array"},
		"client secret type":     {"/providers", field("client_secret", 12345), "client_secret: must be a string, got a number"},
		"openid type":            {"/providers", field("protocols", map[string]any{"openid": 1}), "protocols.openid: must be an object, got a number"},
		"unknown provider":       {"/resources", field("credential_provider_id", "nope"), "credential_provider_id: no provider of the zone has this id"},
		"unknown application":    {"/resources", field("application_id", "nope"), "application_id: no application of the zone has this id"},
		"application type":       {"/resources", field("application_type", "spa"), "application_type: must be one of native, web"},
		"scope with space":       {"/resources", field("scopes", []string{"a b"}), "scopes: must be scopes of printable ASCII"},
		"scopes type":            {"/resources", field("scopes", "a"), "scopes: must be an array of strings, got a string"},
		"prefix type":            {"/resources", field("prefix", "true"), "prefix: must be a boolean, got a string"},
		"prefix null":            {"/resources", field("prefix", nil), "prefix: must not be null"},
		"lifetime range":         {"/resources", field("credential_lifetime_seconds", 59), "credential_lifetime_seconds: must be 60 to 86400"},
		"lifetime type":          {"/resources", field("credential_lifetime_seconds", 90.5), "credential_lifetime_seconds: must be a whole number, got a number"},
		"consent":                {"/applications", field("consent", "explicit"), "consent: must be one of implicit, required"},
		"redirect uris":          {"/applications", oauth2("redirect_uris", "x"), "protocols.oauth2.redirect_uris: must be an array of strings, got a string"},
		"credential type":        {"/application-credentials", credential("type", "secret"), "type: must be one of token, password, public-key, url, public"},
		"credential no type":     {"/application-credentials", credential(), "type: is required"},
		"credential application": {"/application-credentials", map[string]any{"type": "password", "application_id": "nope"}, "application_id: no application of the zone has this id"},
		"token no provider":      {"/application-credentials", credential("type", "token"), "provider_id: is required"},
		"token provider":         {"/application-credentials", credential("type", "token", "provider_id", "nope"), "provider_id: no provider of the zone has this id"},
		"public key no jwks":     {"/application-credentials", credential("type", "public-key"), "jwks_uri: is required"},
		"url no identifier":      {"/application-credentials", credential("type", "url"), "identifier: is required"},
		"url no url":             {"/application-credentials", credential("type", "url", "identifier", "x"), "identifier: must be an absolute http or https URL"},
		"zone name":              {"/zones", map[string]any{}, "name: is required"},
		"zone flag":              {"/zones", map[string]any{"name": "n", "protocols": map[string]any{"oauth2": map[string]any{"dcr_enabled": 1}}}, "protocols.oauth2.dcr_enabled: must be a boolean, got a number"},
		"zone login flow":        {"/zones", map[string]any{"name": "n", "login_flow": "x"}, "login_flow: must be one of default, identifier_first"},
		"zone key":               {"/zones", map[string]any{"name": "n", "encryption_key": map[string]any{"arn": "a", "type": "gcp"}}, "encryption_key.type: must be one of aws"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := z.api("POST", tt.path, tt.body)
			g.Expect(got.Status).To(Equal(400), got.Raw)
			g.Expect(got.Body).To(HaveKeyWithValue("message", ContainSubstring(tt.want)))
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	z := start(t, devzone.Config{})
	tests := map[string]struct {
		method, path, body string
		contentType        string
		status             int
		want               string
	}{
		"no content type":    {method: "POST", path: "/providers", body: `{}`, contentType: "-", status: 415, want: "Content-Type must be application/json"},
		"form content type":  {method: "POST", path: "/providers", body: `{}`, contentType: "application/x-www-form-urlencoded", status: 415, want: "Content-Type"},
		"charset parameter":  {method: "POST", path: "/providers", body: `{}`, contentType: "application/json; charset=utf-8", status: 400, want: "is required"},
		"patch without type": {method: "PATCH", path: "/providers/x", body: `{}`, contentType: "-", status: 415, want: "Content-Type"},
		"not json":           {method: "POST", path: "/providers", body: `{"a":`, status: 400, want: "not valid JSON"},
		"trailing data":      {method: "POST", path: "/providers", body: `{} {}`, status: 400, want: "not valid JSON"},
		"empty":              {method: "POST", path: "/providers", body: ``, status: 400, want: "not valid JSON"},
		"array":              {method: "POST", path: "/providers", body: `[]`, status: 400, want: "must be a JSON object, got an array"},
		"null":               {method: "POST", path: "/providers", body: `null`, status: 400, want: "must be a JSON object, got null"},
		"wrong case":         {method: "POST", path: "/providers", body: `{"Identifier":"i","Name":"n"}`, status: 400, want: "identifier: is required"},
		"too large":          {method: "POST", path: "/providers", body: `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, want: "larger than 1048576 bytes"},
		"unknown path":       {method: "GET", path: "/nothing", status: 404, want: "no such path"},
		"unknown zone":       {method: "GET", path: "/zones/nope/providers", status: 404, want: `no zone has the id "nope"`},
		"unknown id":         {method: "GET", path: "/providers/nope", status: 404, want: `no provider has the id "nope"`},
		"method":             {method: "PUT", path: "/providers", body: `{}`, status: 405, want: "accepts GET, POST"},
		"user create":        {method: "POST", path: "/users", body: `{}`, status: 405, want: "accepts GET"},
		"grant create":       {method: "POST", path: "/delegated-grants", body: `{}`, status: 405, want: "accepts GET"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			path := tt.path
			if !strings.HasPrefix(path, "/zones") {
				path = "/zones/" + z.ZoneID + path
			}
			req := z.request(tt.method, z.APIURL+path, tt.body)
			switch tt.contentType {
			case "":
			case "-":
				req.Header.Del("Content-Type")
			default:
				req.Header.Set("Content-Type", tt.contentType)
			}
			req.Header.Set("Authorization", "Bearer "+z.token)
			got := z.do(req)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Header.Get("Content-Type")).To(Equal("application/json"))
			g.Expect(got.Body).To(And(HaveKeyWithValue("status", BeNumerically("==", tt.status)), HaveKey("code"),
				HaveKeyWithValue("message", ContainSubstring(tt.want))))
		})
	}
}

func TestProvider(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	const secret = "the-client-secret-that-never-comes-back"
	answer := z.api("POST", "/providers", map[string]any{
		"identifier": "https://up.example.com", "name": "Up", "client_id": "c", "client_secret": secret,
		"type": "keycard-vault", "metadata": map[string]any{"docs_url": "https://docs.example.com"},
		"protocols": map[string]any{"oauth2": map[string]any{
			"token_endpoint":           "https://up.example.com/token",
			"authorization_parameters": map[string]string{"audience": "a"},
			"scopes_supported":         []string{"s"},
		}},
	})
	g.Expect(answer.Status).To(Equal(200))
	g.Expect(answer.Raw).NotTo(ContainSubstring(secret))
	p := answer.Body
	g.Expect(p).To(And(HaveKeyWithValue("type", "external"), HaveKeyWithValue("client_secret_set", true),
		HaveKeyWithValue("client_id", "c"), HaveKeyWithValue("metadata", HaveKeyWithValue("docs_url", "https://docs.example.com"))))
	g.Expect(p["protocols"]).To(HaveKeyWithValue("oauth2", And(HaveKeyWithValue("issuer", "https://up.example.com"),
		HaveKeyWithValue("token_endpoint", "https://up.example.com/token"), HaveKeyWithValue("jwks_uri", BeNil()))))
	path := "/providers/" + p["id"].(string)

	patched := z.must("PATCH", path, map[string]any{"metadata": map[string]any{}, "protocols": map[string]any{
		"oauth2": map[string]any{"token_endpoint": nil, "jwks_uri": "https://up.example.com/jwks", "authorization_parameters": nil}}})
	g.Expect(patched).To(And(HaveKeyWithValue("metadata", BeNil()), HaveKeyWithValue("client_secret_set", true)))
	g.Expect(patched["protocols"]).To(HaveKeyWithValue("oauth2", And(HaveKeyWithValue("token_endpoint", BeNil()),
		HaveKeyWithValue("jwks_uri", "https://up.example.com/jwks"), HaveKeyWithValue("authorization_parameters", BeNil()),
		HaveKeyWithValue("scopes_supported", ConsistOf("s")))))
	g.Expect(z.must("GET", path, nil)).To(Equal(patched))

	patched = z.must("PATCH", path, map[string]any{"client_secret": nil, "client_id": nil,
		"protocols": map[string]any{"openid": map[string]any{"user_identifier_claim": "email"}}})
	g.Expect(patched).To(And(HaveKeyWithValue("client_secret_set", false), HaveKeyWithValue("client_id", BeNil())))
	g.Expect(patched["protocols"]).To(And(HaveKeyWithValue("oauth2", Not(BeNil())),
		HaveKeyWithValue("openid", HaveKeyWithValue("user_identifier_claim", "email"))))
	g.Expect(z.must("PATCH", path, map[string]any{"protocols": nil})).To(HaveKeyWithValue("protocols", BeNil()))

	g.Expect(z.must("GET", "/providers?type=external", nil)["items"]).To(HaveLen(1))
	g.Expect(z.api("GET", "/providers?type=nope", nil).Status).To(Equal(400))
	for _, value := range []string{"https://taken.example.com", z.Issuer} {
		if value != z.Issuer {
			z.must("POST", "/providers", map[string]any{"identifier": value, "name": "Taken"})
		}
		g.Expect(z.api("PATCH", path, map[string]any{"identifier": value}).Status).To(Equal(409), value)
	}
}

func TestPlatformProvider(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	found := z.must("GET", "/providers?type=keycard-sts", nil)["items"].([]any)
	g.Expect(found).To(HaveLen(1))
	sts := found[0].(map[string]any)
	g.Expect(sts).To(And(HaveKeyWithValue("owner_type", "platform"), HaveKeyWithValue("identifier", z.Issuer)))
	path := "/providers/" + sts["id"].(string)
	for _, got := range []reply{z.api("PATCH", path, map[string]any{"name": "Mine"}), z.api("DELETE", path, nil)} {
		g.Expect(got.Status).To(Equal(403))
		g.Expect(got.Body).To(HaveKeyWithValue("code", "forbidden"))
	}
	g.Expect(z.must("GET", path, nil)).To(Equal(sts))
}

func TestDeletionOfReferencedObjects(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	provider, resource := z.install(nil)
	refused := z.api("DELETE", "/providers/"+provider, nil)
	g.Expect(refused.Status).To(Equal(409))
	g.Expect(refused.Body).To(HaveKeyWithValue("message", ContainSubstring("still used by 1 resources")))

	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	z.must("PATCH", "/resources/"+resource, map[string]any{"application_id": app})
	g.Expect(z.must("GET", "/applications/"+app+"/resources", nil)["items"]).To(HaveLen(1))
	g.Expect(z.api("DELETE", "/applications/"+app, nil).Status).To(Equal(409))

	z.must("PATCH", "/resources/"+resource, map[string]any{"application_id": nil, "credential_provider_id": nil, "scopes": nil})
	z.must("DELETE", "/applications/"+app, nil)
	z.must("POST", "/application-credentials", map[string]any{"type": "token", "provider_id": provider,
		"application_id": z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"]})
	g.Expect(z.api("DELETE", "/providers/"+provider, nil).Body).To(HaveKeyWithValue("message", ContainSubstring("1 application credentials")))
}

func TestCredentials(t *testing.T) {
	z := start(t, devzone.Config{})
	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	provider := z.must("POST", "/providers", kinds["/providers"])["id"].(string)
	tests := map[string]struct {
		body   map[string]any
		want   OmegaMatcher
		patch  map[string]any
		after  OmegaMatcher
		repeat int
	}{
		"password": {
			body:   map[string]any{"identifier": "my-client"},
			want:   And(HaveKeyWithValue("identifier", "my-client"), HaveKeyWithValue("password", Not(BeEmpty()))),
			patch:  map[string]any{"type": "password", "identifier": "ignored"},
			after:  And(HaveKeyWithValue("identifier", "my-client"), Not(HaveKey("password"))),
			repeat: 409,
		},
		"token": {
			body:   map[string]any{"provider_id": provider, "subject": "system:serviceaccount:a:b"},
			want:   And(HaveKeyWithValue("identifier", "system:serviceaccount:a:b"), HaveKeyWithValue("provider_id", provider)),
			patch:  map[string]any{"subject": nil},
			after:  And(HaveKeyWithValue("identifier", "*"), HaveKeyWithValue("subject", BeNil())),
			repeat: 200,
		},
		"public-key": {
			body:   map[string]any{"jwks_uri": "https://app.example.com/jwks", "identifier": "key-client"},
			want:   And(HaveKeyWithValue("jwks_uri", "https://app.example.com/jwks"), HaveKeyWithValue("identifier", "key-client")),
			patch:  map[string]any{"type": "public-key"},
			after:  HaveKeyWithValue("identifier", "key-client"),
			repeat: 409,
		},
		"url": {
			body:   map[string]any{"identifier": "https://app.example.com/client.json"},
			want:   HaveKeyWithValue("identifier", "https://app.example.com/client.json"),
			patch:  map[string]any{"identifier": "https://app.example.com/other.json"},
			after:  HaveKeyWithValue("identifier", "https://app.example.com/other.json"),
			repeat: 200,
		},
		"public": {
			body:   map[string]any{"identifier": "pub"},
			want:   And(HaveKeyWithValue("identifier", "pub"), Not(HaveKey("password"))),
			patch:  map[string]any{},
			after:  HaveKeyWithValue("identifier", "pub"),
			repeat: 409,
		},
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			g := NewWithT(t)
			tt.body["application_id"], tt.body["type"] = app, kind
			created := z.must("POST", "/application-credentials", tt.body)
			g.Expect(created).To(And(tt.want, HaveKeyWithValue("type", kind), HaveKeyWithValue("application_id", app),
				HaveKeyWithValue("zone_id", z.ZoneID), HaveKey("slug")))
			g.Expect(z.api("POST", "/application-credentials", tt.body).Status).To(Equal(409))

			path := "/application-credentials/" + created["id"].(string)
			g.Expect(z.must("GET", path, nil)).NotTo(HaveKey("password"))
			g.Expect(z.must("PATCH", path, tt.patch)).To(tt.after)
			wrong := z.api("PATCH", path, map[string]any{"type": "nope"})
			g.Expect(wrong.Status).To(Equal(400))
			g.Expect(z.api("POST", "/application-credentials", tt.body).Status).To(Equal(tt.repeat), "after the change of the key")

			mine := z.must("GET", "/application-credentials?applicationId="+app, nil)
			nested := z.must("GET", "/applications/"+app+"/application-credentials", nil)
			g.Expect(nested["items"]).To(Equal(mine["items"]))
			g.Expect(fmt.Sprint(mine)).NotTo(ContainSubstring("password:"))
			z.must("DELETE", path, nil)
			g.Expect(z.api("GET", path, nil).Status).To(Equal(404))
		})
	}
	t.Run("made identifier", func(t *testing.T) {
		g := NewWithT(t)
		created := z.must("POST", "/application-credentials", map[string]any{"application_id": app, "type": "password"})
		g.Expect(created["identifier"]).To(HaveLen(26))
	})
	t.Run("gone with the application", func(t *testing.T) {
		g := NewWithT(t)
		z.must("DELETE", "/applications/"+app, nil)
		g.Expect(z.must("GET", "/application-credentials?application_id="+app, nil)["items"]).To(BeEmpty())
		g.Expect(z.api("GET", "/applications/"+app+"/application-credentials", nil).Status).To(Equal(404))
	})
}

func TestDependencies(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	app := z.must("POST", "/applications", map[string]any{"identifier": "a", "name": "A",
		"dependencies": []any{map[string]any{"id": "ignored"}}})
	g.Expect(app).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 0)))
	r1 := z.must("POST", "/resources", map[string]any{"identifier": "r1", "name": "R1"})["id"].(string)
	r2 := z.must("POST", "/resources", map[string]any{"identifier": "r2", "name": "R2"})["id"].(string)
	path := "/applications/" + app["id"].(string) + "/dependencies"

	for range 2 {
		got := z.api("PUT", path+"/"+r1, nil)
		g.Expect(got.Status).To(Equal(204))
		g.Expect(got.Raw).To(BeEmpty())
	}
	g.Expect(z.api("PUT", path+"/"+r2+"?when_accessing="+r1, "{}").Status).To(Equal(204))
	g.Expect(z.must("GET", "/applications/"+app["id"].(string), nil)).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 2)))

	all := z.must("GET", path+"?expand[]=total_count", nil)
	g.Expect(all["items"]).To(HaveLen(2))
	g.Expect(all["items"].([]any)[0]).To(And(HaveKeyWithValue("id", r1), HaveKeyWithValue("when_accessing", BeEmpty())))
	g.Expect(all["pagination"]).To(HaveKeyWithValue("total_count", BeNumerically("==", 2)))
	g.Expect(all).To(HaveKey("page_info"))
	filtered := z.must("GET", path+"?when_accessing="+r1, nil)["items"].([]any)
	g.Expect(filtered).To(ConsistOf(And(HaveKeyWithValue("id", r2), HaveKeyWithValue("when_accessing", ConsistOf(r1)))))
	g.Expect(z.must("GET", path+"/"+r2, nil)).To(HaveKeyWithValue("identifier", "r2"))

	for name, tt := range map[string]struct {
		method, path string
		body         any
		status       int
	}{
		"unknown resource":       {"PUT", path + "/nope", nil, 404},
		"unknown application":    {"PUT", "/applications/nope/dependencies/" + r1, nil, 404},
		"unknown when_accessing": {"PUT", path + "/" + r1 + "?when_accessing=nope", nil, 400},
		"bad body":               {"PUT", path + "/" + r1, "[]", 400},
		"two filters":            {"GET", path + "?when_accessing=a&when_accessing=b", nil, 400},
		"list of unknown":        {"GET", "/applications/nope/dependencies", nil, 404},
		"no such dependency":     {"GET", path + "/nope", nil, 404},
	} {
		g.Expect(z.api(tt.method, tt.path, tt.body).Status).To(Equal(tt.status), name)
	}
	z.must("DELETE", path+"/"+r1, nil)
	g.Expect(z.api("DELETE", path+"/"+r1, nil).Status).To(Equal(404))
	z.must("DELETE", "/resources/"+r2, nil)
	g.Expect(z.must("GET", path, nil)["items"]).To(BeEmpty())
}

func TestSeededDependencyFollowsTheResource(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)
	g.Expect(app).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 0)))
	_, resource := z.install(nil)
	path := "/applications/" + app["id"].(string) + "/dependencies/" + resource
	g.Expect(z.must("GET", path, nil)).To(HaveKeyWithValue("identifier", confluence))
	z.must("DELETE", path, nil)
	g.Expect(z.api("GET", path, nil).Status).To(Equal(404), "a removed dependency stays removed")
}

func TestUsers(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	all := z.must("GET", "/users", nil)
	g.Expect(all["items"]).To(HaveLen(3))
	g.Expect(all).NotTo(HaveKey("page_info"))
	alice := z.must("GET", "/users?filter[email]=Alice@example.com", nil)["items"].([]any)
	g.Expect(alice).To(ConsistOf(And(HaveKeyWithValue("identifier", "alice@example.com"),
		HaveKeyWithValue("email", "alice@example.com"), HaveKeyWithValue("email_verified", true),
		HaveKeyWithValue("organization_id", "org-devzone"), HaveKeyWithValue("zone_id", z.ZoneID))))
	id := alice[0].(map[string]any)["id"].(string)
	g.Expect(z.must("GET", "/users/"+id, nil)).To(Equal(alice[0]))
	g.Expect(z.must("GET", "/users?filter[id]="+id, nil)["items"]).To(HaveLen(1))
	g.Expect(z.must("GET", "/users?query[email]=B@EX", nil)["items"]).To(HaveLen(1))
	for _, query := range []string{"filter[id]=x&after=c2VxOjE", "sort=-email", strings.Repeat("filter[id]=x&", 101)} {
		g.Expect(z.api("GET", "/users?"+query, nil).Status).To(Equal(400), query)
	}
	g.Expect(z.api("GET", "/users/nope", nil).Status).To(Equal(404))
}

func TestPagination(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	for i := range 7 {
		z.must("POST", "/resources", map[string]any{"identifier": fmt.Sprint("r", i), "name": "R"})
	}
	identifiers := func(page map[string]any) (out []string) {
		for _, it := range page["items"].([]any) {
			out = append(out, it.(map[string]any)["identifier"].(string))
		}
		return out
	}
	cursor := func(page map[string]any, name string) string {
		return page["pagination"].(map[string]any)[name].(string)
	}
	first := z.must("GET", "/resources?limit=3&expand[]=total_count", nil)
	g.Expect(identifiers(first)).To(Equal([]string{"r0", "r1", "r2"}))
	g.Expect(first["pagination"]).To(And(HaveKeyWithValue("before_cursor", BeNil()), HaveKeyWithValue("total_count", BeNumerically("==", 7))))
	g.Expect(first).NotTo(HaveKey("page_info"), "resources have the newer block only")
	second := z.must("GET", "/resources?limit=3&after="+cursor(first, "after_cursor"), nil)
	g.Expect(identifiers(second)).To(Equal([]string{"r3", "r4", "r5"}))
	g.Expect(second["pagination"]).NotTo(HaveKey("total_count"))
	third := z.must("GET", "/resources?limit=3&after="+cursor(second, "after_cursor"), nil)
	g.Expect(identifiers(third)).To(Equal([]string{"r6"}))
	g.Expect(third["pagination"]).To(HaveKeyWithValue("after_cursor", BeNil()))
	back := z.must("GET", "/resources?limit=3&before="+cursor(third, "before_cursor"), nil)
	g.Expect(identifiers(back)).To(Equal([]string{"r3", "r4", "r5"}))

	legacy := z.must("GET", "/providers?limit=1", nil)
	g.Expect(legacy["page_info"]).To(And(HaveKeyWithValue("has_next_page", false), HaveKeyWithValue("has_previous_page", false),
		HaveKey("start_cursor"), HaveKey("end_cursor")))
	g.Expect(z.must("GET", "/providers?cursor="+legacy["page_info"].(map[string]any)["end_cursor"].(string), nil)["items"]).To(BeEmpty())

	for _, query := range []string{"limit=0", "limit=101", "limit=x", "limit=", "after=!!", "after=c2VxOi0x", "before=bm90", "expand[]=x",
		"after=c2VxOjE&before=c2VxOjI"} {
		g.Expect(z.api("GET", "/resources?"+query, nil).Status).To(Equal(400), query)
	}
	g.Expect(z.api("GET", "/providers?after=c2VxOjE&cursor=c2VxOjI", nil).Status).To(Equal(400))
}

func TestZones(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	demo := z.must("GET", "/zones/"+z.ZoneID, nil)
	oauth2 := demo["protocols"].(map[string]any)["oauth2"]
	g.Expect(oauth2).To(And(HaveKeyWithValue("issuer", z.Issuer), HaveKeyWithValue("redirect_uri", z.Issuer+"/oauth/2/redirect"),
		HaveKeyWithValue("token_endpoint", z.Issuer+"/oauth/2/token"), HaveKeyWithValue("jwks_uri", z.Issuer+"/openidconnect/jwks"),
		HaveKey("authorization_endpoint"), HaveKey("authorization_server_metadata"), HaveKey("registration_endpoint"),
		HaveKeyWithValue("dcr_enabled", true), HaveKeyWithValue("pkce_required", true)))
	g.Expect(demo).NotTo(HaveKey("zone_id"))

	other := z.must("POST", "/zones", map[string]any{"name": "Second", "description": "d", "default_mcp_gateway_application": true,
		"protocols": map[string]any{"oauth2": map[string]any{"pkce_required": false}}})
	id := other["id"].(string)
	g.Expect(other).To(And(HaveKeyWithValue("description", "d"), HaveKeyWithValue("slug", HavePrefix("second-"))))
	g.Expect(other["protocols"].(map[string]any)["oauth2"]).To(And(HaveKeyWithValue("pkce_required", false),
		HaveKeyWithValue("issuer", HavePrefix("http://"+id+".localhost:"))))
	g.Expect(z.must("GET", "/zones?slug="+other["slug"].(string), nil)["items"]).To(HaveLen(1))
	g.Expect(z.must("GET", "/zones", nil)).To(And(HaveKeyWithValue("items", HaveLen(2)), HaveKey("page_info")))
	g.Expect(z.must("GET", "/zones/"+id+"/providers?type=keycard-sts", nil)["items"]).To(HaveLen(1))

	patched := z.must("PATCH", "/zones/"+id, map[string]any{"name": "Renamed", "description": nil, "login_flow": "identifier_first",
		"encryption_key": map[string]any{"arn": "arn:aws:kms:x", "type": "aws"}, "protocols": map[string]any{"oauth2": nil}})
	g.Expect(patched).To(And(HaveKeyWithValue("name", "Renamed"), HaveKeyWithValue("description", BeNil()),
		HaveKeyWithValue("login_flow", "identifier_first"), HaveKeyWithValue("encryption_key", HaveKeyWithValue("type", "aws"))))
	g.Expect(patched["protocols"].(map[string]any)["oauth2"]).To(HaveKeyWithValue("pkce_required", true))
	g.Expect(z.api("PATCH", "/zones/"+id, map[string]any{"default_resource_id": "nope"}).Status).To(Equal(400))

	z.must("POST", "/zones/"+id+"/resources", map[string]any{"identifier": "same", "name": "N"})
	mine := z.must("POST", "/resources", map[string]any{"identifier": "same", "name": "N"})
	g.Expect(z.api("GET", "/zones/"+id+"/resources/"+mine["id"].(string), nil).Status).To(Equal(404), "ids do not cross zones")
	g.Expect(z.api("DELETE", "/zones/"+id, nil).Status).To(Equal(204))
	g.Expect(z.api("GET", "/zones/"+id, nil).Status).To(Equal(404))
	g.Expect(z.api("GET", "/zones/"+id+"/resources", nil).Status).To(Equal(404))
	g.Expect(z.api("DELETE", "/zones/"+z.ZoneID, nil).Status).To(Equal(403))
}
