// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
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
	memberKeys     = "id organization_id organization_user_id zone_id role created_at updated_at _links"
	secretKeys     = "id zone_id entity_id name type version created_at updated_at"

	organizationKeys = "id name label sso_enabled created_at updated_at"

	listKeys   = "items pagination"
	legacyKeys = "items pagination page_info"
)

// org calls the management API at any path.
func (z *zone) org(method, path string, body any) reply {
	z.t.Helper()
	req := z.request(method, z.APIURL+path, body)
	req.Header.Set("Authorization", "Bearer "+z.token)
	return z.do(req)
}

// Every operation on what is in a zone, in an order in which each works: method,
// path, status and the fields that clients decode.
func TestEveryOperation(t *testing.T) {
	z := start(t, devzone.Config{})
	provider, resource := z.install(nil)
	z.impersonate("alice@example.com")
	spare := z.must("POST", "/zones", map[string]any{"name": "spare"})["id"].(string)
	other := z.must("POST", "/zones", map[string]any{"name": "other"})["id"].(string)
	org := "/organizations/org-devzone"
	account := z.org("POST", org+"/service-accounts", map[string]any{"name": "robot"}).Body["id"].(string)
	key := z.org("POST", org+"/service-accounts/"+account+"/credentials", map[string]any{"name": "first"}).Body["id"].(string)
	secret := z.must("POST", "/secrets", map[string]any{"entity_id": "e", "name": "kept", "data": map[string]any{"type": "token", "token": "t"}})["id"].(string)
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	grant := z.grant()
	policyID, versionID := z.addPolicy("p", "permit (principal, action, resource);")
	set := z.must("POST", "/policy-sets", map[string]any{"name": "s"})["id"].(string)
	names := map[string]string{
		"{z}": "/zones/" + z.ZoneID, "{spare}": "/zones/" + spare, "{other}": "/zones/" + other, "{org}": org, "{account}": account, "{key}": key, "{secret}": secret, "{provider}": provider, "{resource}": resource, "{app}": app,
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
		{"GET", "{z}/members?role=zone_viewer", nil, 200, legacyKeys},
		{"POST", "{z}/members", map[string]any{"organization_user_id": "ou-1", "role": "zone_viewer"}, 200, memberKeys},
		{"GET", "{z}/members/ou-1", nil, 200, memberKeys},
		{"PATCH", "{z}/members/ou-1", map[string]any{"role": "zone_manager"}, 200, memberKeys},
		{"DELETE", "{z}/members/ou-1", nil, 204, ""},
		{"GET", "{z}/secrets?entity_id={app}&type=token", nil, 200, ""},
		{"POST", "{z}/secrets", map[string]any{"entity_id": app, "name": "s", "data": map[string]any{"type": "password", "username": "u", "password": "p"}}, 200, secretKeys},
		{"GET", "{z}/secrets/{secret}", nil, 200, secretKeys + " data"},
		{"PATCH", "{z}/secrets/{secret}", map[string]any{"data": map[string]any{"type": "token", "token": "new"}}, 200, secretKeys},
		{"DELETE", "{z}/secrets/{secret}", nil, 204, ""},
		{"GET", "/organizations", nil, 200, "items page_info"},
		{"GET", "{org}", nil, 200, organizationKeys},
		{"PATCH", "{org}", map[string]any{"name": "Ours"}, 200, organizationKeys},
		{"GET", "{org}/identities", nil, 200, "items page_info"},
		{"GET", "{org}/roles", nil, 200, "items page_info"},
		{"GET", "{org}/users", nil, 200, "items page_info"},
		{"GET", "{org}/invitations", nil, 200, "items page_info"},
		{"POST", "{org}/token", nil, 403, "message code status"},
		{"POST", "/organizations", map[string]any{"name": "x"}, 403, "message code status"},
		{"GET", "{org}/sso-connection", nil, 404, "message code status"},
		{"POST", "{org}/sso-connection", map[string]any{}, 403, "message code status"},
		{"GET", "{org}/service-accounts", nil, 200, "items page_info"},
		{"POST", "{org}/service-accounts", map[string]any{"name": "ci"}, 200, "id name created_at updated_at"},
		{"GET", "{org}/service-accounts/{account}", nil, 200, "id name created_at updated_at"},
		{"PATCH", "{org}/service-accounts/{account}", map[string]any{"description": "x"}, 200, "id name description"},
		{"GET", "{org}/service-accounts/{account}/credentials", nil, 200, "items page_info"},
		{"POST", "{org}/service-accounts/{account}/credentials", map[string]any{"name": "c"}, 200, "id client_id client_secret created_at name"},
		{"GET", "{org}/service-accounts/{account}/credentials/{key}", nil, 200, "id client_id created_at name"},
		{"DELETE", "{org}/service-accounts/{account}/credentials/{key}", nil, 204, ""},
		{"DELETE", "{org}/service-accounts/{account}", nil, 204, ""},
		{"GET", "/catalog{z}/packages?query[]=confl", nil, 200, listKeys},
		{"GET", "/catalog{z}/packages/confluence", nil, 200, "id name description form"},
		{"POST", "/catalog{other}/install", map[string]any{"package_id": "confluence", "fields": map[string]any{"client_id": "c", "client_secret": "s"}}, 201, ""},
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
			got := z.org(o.method, path, body)
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

// A service account that was made works with the credential that was made for
// it, until either is deleted.
func TestServiceAccounts(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	const accounts = "/organizations/org-devzone/service-accounts"
	account := accounts + "/" + z.org("POST", accounts, map[string]any{"name": "robot", "description": "for CI"}).Body["id"].(string)
	first := z.org("POST", account+"/credentials", map[string]any{"name": "first"}).Body
	second := z.org("POST", account+"/credentials", map[string]any{"name": "second"}).Body
	login := func(c map[string]any) int {
		return z.form(z.APIURL+"/service-account-token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c["client_id"].(string)}, "client_secret": {c["client_secret"].(string)},
		}).Status
	}
	g.Expect(login(first)).To(Equal(200))
	g.Expect(login(map[string]any{"client_id": first["client_id"], "client_secret": second["client_secret"]})).To(Equal(401))
	g.Expect(z.org("GET", account+"/credentials/"+first["id"].(string), nil).Body).To(And(HaveKey("last_used_at"), Not(HaveKey("client_secret"))))
	g.Expect(z.org("GET", account+"/credentials/"+second["id"].(string), nil).Body).NotTo(HaveKey("last_used_at"))
	g.Expect(z.org("DELETE", account+"/credentials/"+first["id"].(string), nil).Status).To(Equal(204))
	g.Expect(login(first)).To(Equal(401))
	robot := &zone{Running: z.Running, t: t, token: z.login(second["client_id"].(string), second["client_secret"].(string))}
	g.Expect(robot.api("GET", "/providers", nil).Status).To(Equal(200))
	g.Expect(robot.org("DELETE", account, nil).Status).To(Equal(403), "not itself")
	g.Expect(z.org("DELETE", account, nil).Status).To(Equal(204))
	g.Expect(login(second)).To(Equal(401))
	g.Expect(robot.api("GET", "/providers", nil).Status).To(Equal(401))
	g.Expect(z.events(url.Values{"type": {"credentials:create"}})).To(HaveLen(2))
}

func TestOtherFamiliesRefuse(t *testing.T) {
	z := start(t, devzone.Config{})
	const accounts = "/organizations/org-devzone/service-accounts"
	zonePath := "/zones/" + z.ZoneID
	install := map[string]any{"package_id": "confluence", "fields": map[string]any{"client_id": "c", "client_secret": "s"}}
	z.install(nil)
	z.must("POST", "/members", map[string]any{"organization_user_id": "ou-1", "role": "zone_viewer"})
	kept := z.must("POST", "/secrets", map[string]any{"entity_id": "e", "name": "kept", "data": map[string]any{"type": "token", "token": "canary"}})
	for name, tt := range map[string]struct {
		method, path string
		body         map[string]any
		status       int
		message      string
	}{
		"organization":         {"GET", "/organizations/other", nil, 404, `no organization has the id "other"`},
		"account":              {"GET", accounts + "/nope", nil, 404, `no service account has the id "nope"`},
		"account name":         {"POST", accounts, map[string]any{}, 400, "name: is required"},
		"credential of nobody": {"POST", accounts + "/nope/credentials", map[string]any{"name": "c"}, 404, "no service account"},
		"long description":     {"POST", accounts + "/nope/credentials", map[string]any{"name": "c", "description": strings.Repeat("x", 501)}, 400, "description: must be 0 to 500 characters long, got 501"},
		"member twice":         {"POST", zonePath + "/members", map[string]any{"organization_user_id": "ou-1", "role": "zone_viewer"}, 409, "member identifier is already in use"},
		"role":                 {"POST", zonePath + "/members", map[string]any{"organization_user_id": "ou-2", "role": "king"}, 400, "role: must be one of zone_manager, zone_viewer"},
		"role filter":          {"GET", zonePath + "/members?role=king", nil, 400, "role: must be one of"},
		"member":               {"GET", zonePath + "/members/ou-9", nil, 404, "no member has the id"},
		"secret without data":  {"POST", zonePath + "/secrets", map[string]any{"entity_id": "e", "name": "n"}, 400, "data: is required"},
		"secret type":          {"POST", zonePath + "/secrets", map[string]any{"entity_id": "e", "name": "n", "data": map[string]any{"type": "key"}}, 400, "data.type: must be one of token, password"},
		"half a password":      {"POST", zonePath + "/secrets", map[string]any{"entity_id": "e", "name": "n", "data": map[string]any{"type": "password", "username": "u"}}, 400, "data.password: is required"},
		"another type":         {"PATCH", zonePath + "/secrets/" + kept["id"].(string), map[string]any{"data": map[string]any{"type": "password", "username": "u", "password": "p"}}, 400, "data.type: can't be changed: make another secret"},
		"secret filter":        {"GET", zonePath + "/secrets?type=key", nil, 400, "type: must be one of token, password"},
		"package":              {"GET", "/catalog" + zonePath + "/packages/nope", nil, 404, `no package has the id "nope"`},
		"install of nothing":   {"POST", "/catalog" + zonePath + "/install", map[string]any{"package_id": "nope", "fields": install["fields"]}, 404, "no package"},
		"install fields":       {"POST", "/catalog" + zonePath + "/install", map[string]any{"package_id": "confluence"}, 400, "fields.client_id: is required; fields.client_secret: is required"},
		"install twice":        {"POST", "/catalog" + zonePath + "/install", install, 409, "provider identifier is already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var body any
			if tt.body != nil {
				body = tt.body
			}
			got := z.org(tt.method, tt.path, body)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Body).To(HaveKeyWithValue("message", ContainSubstring(tt.message)))
		})
	}
	g := NewWithT(t)
	list := z.org("GET", zonePath+"/secrets", nil)
	g.Expect(list.Raw).To(HavePrefix("["))
	g.Expect(list.Raw).NotTo(ContainSubstring("canary"))
	g.Expect(fmt.Sprint(z.events(url.Values{}))).NotTo(ContainSubstring("canary"))
}
