// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// names are a field of the items of a list.
func (z *zone) names(path, field string) []string {
	z.t.Helper()
	out := []string{}
	for _, it := range z.must("GET", path, nil)["items"].([]any) {
		out = append(out, it.(map[string]any)[field].(string))
	}
	return out
}

func TestApplicationFilters(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	ids := map[string]string{}
	for identifier, traits := range map[string][]string{"urn:b": nil, "urn:a": {"gateway"}, "urn:c": {"gateway", "mcp-provider"}} {
		body := map[string]any{"identifier": identifier, "name": "Name of " + strings.ToUpper(identifier), "traits": traits}
		ids[identifier] = z.must("POST", "/applications", body)["id"].(string)
	}
	for query, want := range map[string][]string{
		"filter[id]=" + ids["urn:a"] + "&filter[id]=" + ids["urn:b"]: {"urn:a", "urn:b"},
		"filter[identifier]=urn:c":                                   {"urn:c"},
		"filter[identifier]=urn:c&filter[identifier]=x":              {"urn:c"},
		"filter[slug]=none":                                          {},
		"identifier=urn:b":                                           {"urn:b"},
		"query[]=n:a":                                                {"urn:a"},
		"query[]=name of urn:c":                                      {"urn:c"},
		"query[name]=urn:&query[identifier]=B":                       {"urn:b"},
		"traits=gateway&traits=mcp-provider":                         {"urn:a", "urn:c"},
		"traits[all]=gateway&traits[all]=mcp-provider":               {"urn:c"},
		"query[name]=name of&sort=identifier":                        {"urn:a", "urn:b", "urn:c"},
		"query[name]=name of&sort=-name,created_at":                  {"urn:c", "urn:b", "urn:a"},
		"query[name]=name of&sort=-identifier&limit=2":               {"urn:c", "urn:b"},
	} {
		got := z.names("/applications?"+strings.ReplaceAll(query, " ", "%20"), "identifier")
		if strings.Contains(query, "sort=") {
			g.Expect(got).To(Equal(want), query)
		} else {
			g.Expect(got).To(ConsistOf(want), query)
		}
	}
	for _, query := range []string{"traits=robot", "sort=slug", "sort=name,", "cursor=c2VxOjE", "filter[id]=x&after=c2VxOjE"} {
		g.Expect(z.api("GET", "/applications?"+query, nil).Status).To(Equal(400), query)
	}
	path := "/applications/" + ids["urn:b"]
	g.Expect(z.must("GET", path, nil)).To(And(HaveKeyWithValue("traits", BeEmpty()), Not(HaveKey("metadata"))))
	g.Expect(z.must("PATCH", path, map[string]any{"traits": []string{"mcp-provider"}})).To(HaveKeyWithValue("traits", ConsistOf("mcp-provider")))
	g.Expect(z.api("PATCH", path, map[string]any{"traits": []string{"robot"}}).Status).To(Equal(400))
}

func TestZoneSettings(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	cimd := func(body map[string]any) any {
		return body["protocols"].(map[string]any)["oauth2"].(map[string]any)["cimd"]
	}
	set := func(v any) map[string]any {
		return map[string]any{"protocols": map[string]any{"oauth2": map[string]any{"cimd": v}}}
	}
	path := "/zones/" + z.ZoneID
	got := z.must("GET", path, nil)
	g.Expect(got).To(HaveKeyWithValue("owner_type", "customer"))
	g.Expect(cimd(got)).To(And(HaveKeyWithValue("enabled", false), HaveKeyWithValue("allowed_client_ids", BeEmpty())))
	z.must("PATCH", path, set(map[string]any{"enabled": true, "allowed_client_ids": []string{"https://a.example/c.json"}}))
	g.Expect(cimd(z.must("PATCH", path, set(map[string]any{})))).To(And(
		HaveKeyWithValue("enabled", true), HaveKeyWithValue("allowed_client_ids", ConsistOf("https://a.example/c.json"))))
	g.Expect(cimd(z.must("PATCH", path, set(nil)))).To(HaveKeyWithValue("enabled", false))
	g.Expect(z.api("PATCH", path, set(map[string]any{"allowed_client_ids": []string{"a"}})).Status).To(Equal(400))
}

func TestUserExpands(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	user := z.must("GET", "/users", nil)["items"].([]any)[0].(map[string]any)
	g.Expect(user).To(HaveKeyWithValue("identifier", "alice@example.com"))
	for _, key := range []string{"session_count", "grant_count", "role_assignments"} {
		g.Expect(user).NotTo(HaveKey(key))
	}
	query := "?expand[]=session_count&expand[]=grant_count&expand[]=role-assignments"
	for _, got := range []any{
		z.must("GET", "/users"+query, nil)["items"].([]any)[0], z.must("GET", "/users/"+user["id"].(string)+query, nil),
	} {
		g.Expect(got).To(And(HaveKeyWithValue("session_count", BeNumerically("==", 0)),
			HaveKeyWithValue("grant_count", BeNumerically("==", 1)), HaveKeyWithValue("role_assignments", BeEmpty())))
	}
	g.Expect(z.api("GET", "/users?expand[]=permissions", nil).Status).To(Equal(400))
}

func TestGrantOrder(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	s.Users[1].Consents = s.Users[0].Consents
	z := start(t, devzone.Config{Seed: s})
	z.install(nil)
	g.Expect(z.impersonate("bob@example.com").Status).To(Equal(200))
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	ascending := z.names("/delegated-grants", "id")
	g.Expect(ascending).To(HaveLen(2))
	g.Expect(z.names("/delegated-grants?sort=created_at", "id")).To(Equal(ascending))
	g.Expect(z.names("/delegated-grants?sort=-created_at", "id")).To(Equal([]string{ascending[1], ascending[0]}))
	g.Expect(z.api("GET", "/delegated-grants?sort=status", nil).Status).To(Equal(400))
}

// A version of a policy is shown in both forms of Cedar unless one is asked for.
func TestCedarForms(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	policy, version := z.addPolicy("p", "permit (principal, action, resource);")
	set := z.must("POST", "/policy-sets", map[string]any{"name": "s"})["id"].(string)
	setVersion := z.must("POST", "/policy-sets/"+set+"/versions", map[string]any{
		"schema_version": schemaVersion, "manifest": map[string]any{"entries": []any{entry(policy, version)}},
	})["id"].(string)
	for _, path := range []string{
		"/policies/" + policy + "/versions/" + version, "/policies/" + policy + "/versions",
		"/policy-sets/" + set + "/versions/" + setVersion + "/policies",
	} {
		for format, keys := range map[string][2]OmegaMatcher{
			"":              {HaveKey("cedar_raw"), HaveKey("cedar_json")},
			"?format=cedar": {HaveKey("cedar_raw"), Not(HaveKey("cedar_json"))},
			"?format=json":  {Not(HaveKey("cedar_raw")), HaveKey("cedar_json")},
		} {
			got := z.must("GET", path+format, nil)
			if items, isList := got["items"].([]any); isList {
				got = items[0].(map[string]any)
			}
			g.Expect(got).To(And(keys[0], keys[1], HaveKeyWithValue("policy_id", policy), HaveKeyWithValue("id", version),
				HaveKeyWithValue("schema_version", schemaVersion), HaveKey("sha"), HaveKeyWithValue("version", BeNumerically("==", 1))), path+format)
		}
	}
	schema := z.must("GET", "/policy-schemas/"+schemaVersion, nil)
	g.Expect(schema).To(And(HaveKey("cedar_schema"), HaveKey("cedar_schema_json")))
}

// Clients put the number of their account at AWS into the policy.
func TestKeyPolicy(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	got := z.org("GET", "/organizations/org-devzone/aws/key-policy", nil)
	g.Expect(got.Status).To(Equal(200), got.Raw)
	text := got.Body["policy"].(string)
	g.Expect(text).To(And(ContainSubstring("<YOUR_AWS_ACCOUNT_ID>"), ContainSubstring("org-devzone")))
	g.Expect(json.Valid([]byte(text))).To(BeTrue())
}
