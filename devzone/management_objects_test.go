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

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/seed"
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

func TestServiceAccountSecretWithOddCharacters(t *testing.T) {
	const secret = "a+b%20c d/é:"
	s := seed.Default()
	s.ServiceAccounts[0].ClientSecret = secret
	r, err := devzone.Start(t.Context(), devzone.Config{Seed: s})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer r.Close()
	z := &zone{Running: r, t: t}
	for name, sent := range map[string]string{"as it is": secret, "form-urlencoded": url.QueryEscape(secret)} {
		t.Run(name, func(t *testing.T) {
			req := z.request("POST", z.APIURL+"/service-account-token", "grant_type=client_credentials")
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.SetBasicAuth("operator", sent)
			NewWithT(t).Expect(z.do(req).Status).To(Equal(200))
		})
	}
}

func TestManagementAuthentication(t *testing.T) {
	c := clock.New()
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

	c.Advance(time.Hour)
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

			patched := z.must("PATCH", path+"/"+id, map[string]any{"description": "mine"})
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

func TestProvider(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	const secret = "the-client-secret-that-never-comes-back"
	answer := z.api("POST", "/providers", map[string]any{
		"identifier": "https://up.example.com", "name": "Up", "client_id": "c", "client_secret": secret,
		"metadata": map[string]any{"docs_url": "https://docs.example.com"},
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
		"oauth2": map[string]any{"token_endpoint": nil, "jwks_uri": "https://up.example.com/jwks", "authorization_parameters": nil},
	}})
	g.Expect(patched).To(And(HaveKeyWithValue("metadata", BeNil()), HaveKeyWithValue("client_secret_set", true)))
	g.Expect(patched["protocols"]).To(HaveKeyWithValue("oauth2", And(HaveKeyWithValue("token_endpoint", BeNil()),
		HaveKeyWithValue("jwks_uri", "https://up.example.com/jwks"), HaveKeyWithValue("authorization_parameters", BeNil()),
		HaveKeyWithValue("scopes_supported", ConsistOf("s")))))
	g.Expect(z.must("GET", path, nil)).To(Equal(patched))

	patched = z.must("PATCH", path, map[string]any{
		"client_secret": nil, "client_id": nil,
		"protocols": map[string]any{"openid": map[string]any{"user_identifier_claim": "email"}},
	})
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

	for _, query := range []string{
		"limit=0", "limit=101", "limit=x", "limit=", "after=!!", "after=c2VxOi0x", "before=bm90", "expand[]=x",
		"after=c2VxOjE&before=c2VxOjI",
	} {
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

	other := z.must("POST", "/zones", map[string]any{
		"name": "Second", "description": "d", "default_mcp_gateway_application": true,
		"protocols": map[string]any{"oauth2": map[string]any{"pkce_required": false}},
	})
	id := other["id"].(string)
	g.Expect(other).To(And(HaveKeyWithValue("description", "d"), HaveKeyWithValue("slug", HavePrefix("second-"))))
	g.Expect(other["protocols"].(map[string]any)["oauth2"]).To(And(HaveKeyWithValue("pkce_required", false),
		HaveKeyWithValue("issuer", HavePrefix("http://"+id+".localhost:"))))
	g.Expect(z.must("GET", "/zones?slug="+other["slug"].(string), nil)["items"]).To(HaveLen(1))
	g.Expect(z.must("GET", "/zones", nil)).To(And(HaveKeyWithValue("items", HaveLen(2)), HaveKey("page_info")))
	g.Expect(z.must("GET", "/zones/"+id+"/providers?type=keycard-sts", nil)["items"]).To(HaveLen(1))

	patched := z.must("PATCH", "/zones/"+id, map[string]any{
		"name": "Renamed", "description": nil, "login_flow": "identifier_first",
		"encryption_key": map[string]any{"arn": "arn:aws:kms:x", "type": "aws"}, "protocols": map[string]any{"oauth2": nil},
	})
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
