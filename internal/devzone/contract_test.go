// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/devzone"
)

// operation is one line of the management API's reference: what is asked for and
// what is answered. {name} in the path is an object that the test has made.
type operation struct {
	method, path string
	body         map[string]any
	status       int
	// keys are in the answer; for a list, "items" and the paging blocks are.
	keys string
}

const (
	zoneKeys       = "id organization_id slug name created_at updated_at protocols"
	providerKeys   = "id organization_id zone_id slug identifier name owner_type type created_at updated_at client_secret_set"
	resourceKeys   = "id organization_id zone_id slug identifier name owner_type application_type prefix created_at updated_at"
	appKeys        = "id organization_id zone_id slug identifier name owner_type consent dependencies_count created_at updated_at"
	credentialKeys = "id organization_id zone_id slug application_id type identifier created_at updated_at"
	grantKeys      = "id organization_id zone_id user_id resource_id provider_id scopes status refresh_token_set created_at updated_at expires_at"
	policyKeys     = "id zone_id name owner_type created_at created_by updated_at"
	versionKeys    = "id zone_id policy_id version schema_version sha owner_type created_at created_by"
	setKeys        = "id zone_id name owner_type scope_type active created_at created_by updated_at"
	setVersionKeys = "id policy_set_id version schema_version manifest manifest_sha owner_type created_at created_by"
	listKeys       = "items pagination"
	legacyKeys     = "items pagination page_info"
)

// Every operation on what is in a zone, in an order in which each works: method,
// path, status and the fields that clients decode.
func TestEveryOperation(t *testing.T) {
	z := start(t, devzone.Config{})
	provider, resource := z.install(nil)
	z.impersonate("alice@example.com")
	spare := z.must("POST", "/zones", map[string]any{"name": "spare"})["id"].(string)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	grant := z.grant()
	policyID, versionID := z.addPolicy("p", "permit (principal, action, resource);")
	set := z.must("POST", "/policy-sets", map[string]any{"name": "s"})["id"].(string)
	names := map[string]string{
		"{z}": "/zones/" + z.ZoneID, "{spare}": "/zones/" + spare, "{provider}": provider, "{resource}": resource, "{app}": app,
		"{grant}": grant["id"].(string), "{user}": grant["user_id"].(string), "{policy}": policyID, "{version}": versionID, "{set}": set,
	}
	manifest := map[string]any{"schema_version": schemaVersion, "manifest": map[string]any{"entries": []any{entry(policyID, versionID)}}}
	operations := []operation{
		{"GET", "/zones", nil, 200, legacyKeys},
		{"POST", "/zones", map[string]any{"name": "another"}, 200, zoneKeys},
		{"GET", "{z}", nil, 200, zoneKeys},
		{"PATCH", "{z}", map[string]any{"description": "x"}, 200, zoneKeys},
		{"DELETE", "{spare}", nil, 204, ""},
		{"GET", "{z}/providers?identifier=x&slug=y&type=external", nil, 200, legacyKeys},
		{"POST", "{z}/providers", map[string]any{"identifier": "urn:p", "name": "p"}, 200, providerKeys},
		{"GET", "{z}/providers/{provider}", nil, 200, providerKeys},
		{"PATCH", "{z}/providers/{provider}", map[string]any{"name": "Atlassian Cloud"}, 200, providerKeys},
		{"GET", "{z}/resources?identifier=x&credentialProviderId={provider}&slug=y", nil, 200, listKeys},
		{"POST", "{z}/resources", map[string]any{"identifier": "urn:r", "name": "r"}, 200, resourceKeys},
		{"GET", "{z}/resources/{resource}", nil, 200, resourceKeys},
		{"PATCH", "{z}/resources/{resource}", map[string]any{"name": "Confluence Cloud"}, 200, resourceKeys},
		{"GET", "{z}/applications?identifier=x&slug=y&traits=gateway", nil, 200, legacyKeys},
		{"POST", "{z}/applications", map[string]any{"identifier": "urn:a", "name": "a"}, 200, appKeys},
		{"GET", "{z}/applications/{app}", nil, 200, appKeys},
		{"PATCH", "{z}/applications/{app}", map[string]any{"name": "Reports!"}, 200, appKeys},
		{"GET", "{z}/applications/{app}/application-credentials", nil, 200, legacyKeys},
		{"GET", "{z}/applications/{app}/resources", nil, 200, legacyKeys},
		{"GET", "{z}/application-credentials?applicationId={app}&slug=x", nil, 200, legacyKeys},
		{"POST", "{z}/application-credentials", map[string]any{"application_id": app, "type": "password"}, 200, credentialKeys + " password"},
		{"POST", "{z}/application-credentials", map[string]any{"application_id": app, "type": "token", "provider_id": provider}, 200, credentialKeys + " provider_id"},
		{"POST", "{z}/application-credentials", map[string]any{"application_id": app, "type": "public-key", "jwks_uri": "https://x.example/jwks"}, 200, credentialKeys + " jwks_uri"},
		{"POST", "{z}/application-credentials", map[string]any{"application_id": app, "type": "url", "identifier": "https://x.example/client"}, 200, credentialKeys},
		{"POST", "{z}/application-credentials", map[string]any{"application_id": app, "type": "public"}, 200, credentialKeys},
		{"GET", "{z}/applications/{app}/dependencies", nil, 200, legacyKeys},
		{"GET", "{z}/applications/{app}/dependencies/{resource}", nil, 200, resourceKeys},
		{"PUT", "{z}/applications/{app}/dependencies/{resource}", nil, 204, ""},
		{"GET", "{z}/delegated-grants?user_id={user}&resource_id={resource}&status=active&active=true", nil, 200, listKeys},
		{"GET", "{z}/delegated-grants/{grant}", nil, 200, grantKeys},
		{"PATCH", "{z}/delegated-grants/{grant}", map[string]any{"status": "revoked"}, 200, grantKeys},
		{"DELETE", "{z}/delegated-grants/{grant}", nil, 204, ""},
		{"GET", "{z}/users?filter[email]=alice@example.com&sort=-created_at", nil, 200, listKeys},
		{"GET", "{z}/users/{user}", nil, 200, "id zone_id identifier email email_verified created_at updated_at"},
		{"GET", "{z}/user-agents", nil, 200, listKeys},
		{"GET", "{z}/sessions?session_type=user&status=active", nil, 200, listKeys},
		{"GET", "{z}/policies?filter[owner_type]=customer&query=p&sort=created_at&order=asc", nil, 200, listKeys},
		{"POST", "{z}/policies", map[string]any{"name": "q"}, 200, policyKeys},
		{"GET", "{z}/policies/{policy}", nil, 200, policyKeys},
		{"PATCH", "{z}/policies/{policy}", map[string]any{"name": "pp"}, 200, policyKeys},
		{"GET", "{z}/policies/{policy}/versions", nil, 200, listKeys},
		{"GET", "{z}/policies/{policy}/versions/{version}?format=json", nil, 200, versionKeys + " cedar_json"},
		{"GET", "{z}/policy-sets?filter[active]=true&filter[scope_type]=zone", nil, 200, listKeys},
		{"GET", "{z}/policy-sets/{set}", nil, 200, setKeys},
		{"PATCH", "{z}/policy-sets/{set}", map[string]any{"name": "ss"}, 200, setKeys},
		{"POST", "{z}/policy-sets/{set}/versions", manifest, 200, setVersionKeys},
		{"GET", "{z}/policy-sets/{set}/versions", nil, 200, listKeys},
		{"GET", "{z}/policy-schemas", nil, 200, listKeys},
		{"GET", "{z}/policy-schemas/2026-03-16", nil, 200, "version status is_default cedar_schema created_at updated_at"},
		{"PATCH", "{z}/policy-schemas/2026-03-16", map[string]any{}, 200, "version is_default"},
		{"DELETE", "{z}/policy-sets/{set}", nil, 200, setKeys + " archived_at"},
		{"DELETE", "{z}/policies/{policy}/versions/{version}", nil, 200, versionKeys + " archived_at"},
		{"DELETE", "{z}/policies/{policy}", nil, 200, policyKeys + " archived_at"},
		{"DELETE", "{z}/applications/{app}/dependencies/{resource}", nil, 204, ""},
		{"DELETE", "{z}/resources/{resource}", nil, 204, ""},
	}
	for _, o := range operations {
		t.Run(o.method+" "+strings.NewReplacer("{", "", "}", "").Replace(o.path), func(t *testing.T) {
			g := NewWithT(t)
			path := o.path
			for name, value := range names {
				path = strings.ReplaceAll(path, name, value)
			}
			var body any
			if o.body != nil {
				body = o.body
			}
			got := z.api(o.method, path, body)
			g.Expect(got.Status).To(Equal(o.status), got.Raw)
			g.Expect(slices.Collect(maps.Keys(got.Body))).To(ContainElements(strings.Fields(o.keys)), got.Raw)
			if o.status == 200 {
				g.Expect(got.Header.Get("Content-Type")).To(Equal("application/json"))
			}
		})
	}
	// Without the token, and for what is not there, each answers alike.
	for _, o := range operations {
		path := o.path
		for name, value := range names {
			path = strings.ReplaceAll(path, name, value)
		}
		req := z.request(o.method, z.APIURL+path, nil)
		if got := z.do(req); got.Status != 401 || fmt.Sprint(got.Body["status"]) != "401" {
			t.Errorf("%s %s without a token: %d %s", o.method, path, got.Status, got.Raw)
		}
	}
}
