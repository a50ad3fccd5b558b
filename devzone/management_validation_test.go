// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

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
		t.Run(path+" limits are inclusive", func(*testing.T) {
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
		"dependencies":           {"/applications", field("dependencies", "x"), "dependencies: must be an array, got a string"},
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
