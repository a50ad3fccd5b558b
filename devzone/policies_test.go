// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

const schemaVersion = "2026-03-16"

// addPolicy makes a policy with one version.
func (z *zone) addPolicy(name, cedar string) (policyID, versionID string) {
	z.t.Helper()
	policyID = z.must("POST", "/policies", map[string]any{"name": name})["id"].(string)
	version := z.must("POST", "/policies/"+policyID+"/versions", map[string]any{"schema_version": schemaVersion, "cedar_raw": cedar})
	return policyID, version["id"].(string)
}

// activeSet is the policy set in force.
func (z *zone) activeSet() map[string]any {
	z.t.Helper()
	items := z.must("GET", "/policy-sets?filter[active]=true", nil)["items"].([]any)
	NewWithT(z.t).Expect(items).To(HaveLen(1))
	return items[0].(map[string]any)
}

// manifest is that of the set in force.
func (z *zone) manifest() []any {
	z.t.Helper()
	set := z.activeSet()
	path := "/policy-sets/" + set["id"].(string) + "/versions/" + set["active_version_id"].(string)
	return z.must("GET", path, nil)["manifest"].(map[string]any)["entries"].([]any)
}

func entry(policyID, versionID string) map[string]any {
	return map[string]any{"policy_id": policyID, "policy_version_id": versionID}
}

// putInForce makes a version of the set with the entries and activates it.
func (z *zone) putInForce(setID string, entries []any) (path string) {
	z.t.Helper()
	version := z.must("POST", "/policy-sets/"+setID+"/versions", map[string]any{
		"schema_version": schemaVersion, "manifest": map[string]any{"entries": entries},
	})
	path = "/policy-sets/" + setID + "/versions/" + version["id"].(string)
	NewWithT(z.t).Expect(z.must("PATCH", path, map[string]any{"active": true})).To(HaveKeyWithValue("active", true))
	return path
}

// The way to let an application act for an absent person, and to take it back:
// each activation holds from the next exchange on.
func TestPoliciesDecideTheNextExchange(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	s.Applications[0].MayImpersonate = nil
	z := start(t, devzone.Config{Seed: s})
	z.install(nil)
	denied := func(text string) {
		t.Helper()
		got := z.impersonate("alice@example.com")
		g.Expect(got.Status).To(Equal(400))
		g.Expect(got.Body).To(And(HaveKeyWithValue("error", "access_denied"), HaveKeyWithValue("error_description", text), HaveKey("requestId")))
	}
	denied("Access denied by policy. Policy set: default-zone-policies. Policy set version: 1. Determining policies: default-user-grants.")

	defaults := z.manifest()
	g.Expect(defaults).To(HaveLen(3))
	permit := entry(z.addPolicy("background", `permit (principal is Keycard::Application, action, resource)
		when { context.impersonate && principal.identifier == "reports" && context.subject.identifier == "alice@example.com" };`))
	set := z.must("POST", "/policy-sets", map[string]any{"name": "ours"})["id"].(string)
	first := z.putInForce(set, append(defaults, permit))
	g.Expect(z.activeSet()).To(And(HaveKeyWithValue("name", "ours"), HaveKeyWithValue("mode", "active"), HaveKeyWithValue("active_version", 1.0)))
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	denied2 := z.impersonate("bob@example.com")
	g.Expect(denied2.Body).To(HaveKeyWithValue("error_description", ContainSubstring("Policy set: ours. Policy set version: 1. Determining policies: default-user-grants.")))

	forbid := entry(z.addPolicy("night", `forbid (principal, action, resource) when { resource.identifier == "`+confluence+`" };`))
	z.putInForce(set, append(defaults, permit, forbid))
	denied("Access denied by policy. Policy set: ours. Policy set version: 2. Determining policies: night.")
	z.must("PATCH", first, map[string]any{"active": true})
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
}

func TestPolicyScopes(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	z.own("urn:api", true, map[string]any{"scopes": []string{"read", "write"}})
	forbid := entry(z.addPolicy("read-only", `forbid (principal, action, resource) when { context.scopes.contains("write") || context.scopes.contains("read:confluence-user") };`))
	set := z.must("POST", "/policy-sets", map[string]any{"name": "ours"})["id"].(string)
	z.putInForce(set, append(z.manifest(), forbid))
	ask := func(scope string) reply {
		return z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {"urn:api"}, "scope": {scope}})
	}
	got := ask("read write")
	g.Expect(got.Body).To(HaveKeyWithValue("scope", "read"))
	g.Expect(z.claims(got.Body["access_token"].(string))).To(HaveKeyWithValue("scope", "read"))
	g.Expect(ask("write").Body).To(HaveKeyWithValue("error", "access_denied"))
	// What Atlassian has given can't be narrowed.
	form := impersonation("alice@example.com", confluence)
	form.Set("scope", "read:confluence-content.all read:confluence-user")
	g.Expect(z.exchange(form).Body).To(And(HaveKeyWithValue("error", "access_denied"),
		HaveKeyWithValue("error_description", HaveSuffix("Determining policies: read-only."))))
	form.Set("scope", "read:confluence-content.all")
	g.Expect(z.exchange(form).Status).To(Equal(200))
}

func TestPolicyObjects(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	made := z.must("POST", "/policies", map[string]any{"name": "Mine", "description": "what it is for"})
	id := made["id"].(string)
	g.Expect(made).To(And(HaveKeyWithValue("owner_type", "customer"), HaveKeyWithValue("created_by", "operator"), Not(HaveKey("latest_version"))))
	raw := z.must("POST", "/policies/"+id+"/versions", map[string]any{"schema_version": schemaVersion, "cedar_raw": "permit (principal, action, resource);"})
	g.Expect(raw).To(And(HaveKeyWithValue("version", 1.0), HaveKeyWithValue("sha", HavePrefix("sha256:")), HaveKeyWithValue("policy_id", id)))
	path := "/policies/" + id + "/versions/" + raw["id"].(string)
	form := z.must("GET", path+"?format=json", nil)["cedar_json"]
	second := z.must("POST", "/policies/"+id+"/versions", map[string]any{"schema_version": schemaVersion, "cedar_json": form})
	g.Expect(second).To(HaveKeyWithValue("version", 2.0))
	g.Expect(z.must("GET", "/policies/"+id, nil)).To(And(HaveKeyWithValue("latest_version", 2.0), HaveKeyWithValue("latest_version_id", second["id"])))
	g.Expect(z.must("GET", "/policies/"+id+"/versions", nil)["items"]).To(HaveLen(2))

	got := z.api("GET", "/policies/"+id, nil)
	tag := got.Header.Get("ETag")
	g.Expect(tag).NotTo(BeEmpty())
	change := func(ifMatch string) reply {
		req := z.request("PATCH", z.APIURL+"/zones/"+z.ZoneID+"/policies/"+id, map[string]any{"description": nil})
		req.Header.Set("Authorization", "Bearer "+z.token)
		req.Header.Set("If-Match", ifMatch)
		return z.do(req)
	}
	g.Expect(change(`"other"`).Status).To(Equal(http.StatusPreconditionFailed))
	g.Expect(change(`"other", ` + tag).Body).To(And(HaveKeyWithValue("description", BeNil()), HaveKeyWithValue("updated_by", "operator")))

	names := func(query string) (out []string) {
		for _, p := range z.must("GET", "/policies?"+query, nil)["items"].([]any) {
			out = append(out, p.(map[string]any)["name"].(string))
		}
		return out
	}
	g.Expect(names("filter[owner_type]=platform")).To(Equal([]string{"default-user-grants", "default-app-delegation", "default-app-direct-access"}))
	g.Expect(names("query[name]=min")).To(Equal([]string{"Mine"}))
	g.Expect(names("filter[id]=" + id)).To(Equal([]string{"Mine"}))
	g.Expect(names("order=desc&limit=1&sort=created_at")).To(Equal([]string{"Mine"}))
	page := z.must("GET", "/policies?order=desc&limit=2&expand=total_count", nil)["pagination"].(map[string]any)
	g.Expect(page).To(HaveKeyWithValue("total_count", 5.0))
	g.Expect(names("order=desc&limit=9&after=" + page["after_cursor"].(string))).To(Equal([]string{"default-app-direct-access", "default-app-delegation", "default-user-grants"}))

	g.Expect(z.must("DELETE", path, nil)).To(HaveKey("archived_at"))
	g.Expect(z.must("DELETE", "/policies/"+id, nil)).To(And(HaveKeyWithValue("id", id), HaveKey("archived_at")))
	schemas := z.must("GET", "/policy-schemas?filter[default]=true", nil)["items"].([]any)
	g.Expect(schemas).To(ConsistOf(And(HaveKeyWithValue("version", schemaVersion), HaveKeyWithValue("cedar_schema", ContainSubstring("entity Application")))))
	z.must("PATCH", "/policy-schemas/2026-02-24", nil)
	g.Expect(z.must("GET", "/policy-schemas/2026-02-24", nil)).To(HaveKeyWithValue("is_default", true))
	z.must("PATCH", "/policy-schemas/2026-06-18", map[string]any{"is_default": true})
	g.Expect(z.must("GET", "/policy-schemas/2026-06-18?format=json", nil)).To(And(HaveKeyWithValue("is_default", true), HaveKey("cedar_schema_json")))
	sets := z.must("GET", "/policy-sets?filter[owner_type]=platform", nil)["items"].([]any)
	platform := sets[0].(map[string]any)["id"].(string)
	policies := z.must("GET", "/policy-sets/"+platform+"/versions/"+sets[0].(map[string]any)["latest_version_id"].(string)+"/policies", nil)
	g.Expect(policies["items"]).To(HaveLen(3))
}

// What the policies see of a token that is exchanged.
func TestPolicyClaims(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	forbid := entry(z.addPolicy("substitutes", `forbid (principal, action, resource)
		when { context.subject_claims has sub && context.subject_claims.sub == "alice@example.com" && !(context.actor_claims has sub) };`))
	set := z.must("POST", "/policy-sets", map[string]any{"name": "ours"})["id"].(string)
	z.own("urn:api", true, nil)
	z.putInForce(set, append(z.manifest(), forbid))
	g.Expect(z.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error_description", HaveSuffix("Determining policies: substitutes.")))

	actor := z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {"urn:api"}})
	g.Expect(actor.Status).To(Equal(200), "there is no subject token: %s", actor.Raw)
	form := impersonation("alice@example.com", confluence)
	form.Set("actor_token", actor.Body["access_token"].(string))
	form.Set("actor_token_type", accessToken)
	g.Expect(z.exchange(form).Status).To(Equal(200))
}

// A tag moves with everything that is shown, however fast the changes come.
func TestPolicyTags(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{Clock: func() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }})
	id, version := z.addPolicy("mine", "permit (principal, action, resource);")
	set := z.must("POST", "/policy-sets", map[string]any{"name": "set"})["id"].(string)
	policyPath, setPath := "/policies/"+id, "/policy-sets/"+set
	tag := func(path string) string { return z.api("GET", path, nil).Header.Get("ETag") }
	seen := map[string]bool{}
	moved := func(path string) {
		t.Helper()
		got := tag(path)
		g.Expect(got).NotTo(BeEmpty())
		g.Expect(tag(path)).To(Equal(got))
		g.Expect(seen).NotTo(HaveKey(got))
		seen[got] = true
	}
	moved(policyPath)
	z.must("PATCH", policyPath, map[string]any{"name": "renamed"})
	moved(policyPath)
	z.must("POST", policyPath+"/versions", map[string]any{"schema_version": schemaVersion, "cedar_raw": "permit (principal, action, resource);"})
	moved(policyPath)
	moved(setPath)
	z.putInForce(set, []any{entry(id, version)})
	moved(setPath)
}

func TestPolicySetsByStatus(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	id, version := z.addPolicy("mine", "permit (principal, action, resource);")
	for _, name := range []string{"archived", "waiting", "active"} {
		set := z.must("POST", "/policy-sets", map[string]any{"name": name})["id"].(string)
		switch name {
		case "archived":
			z.must("DELETE", "/policy-sets/"+set, nil)
		case "active":
			z.putInForce(set, []any{entry(id, version)})
		}
	}
	names := func(query string) (out []string) {
		for after := ""; ; {
			page := z.must("GET", "/policy-sets?limit=2&sort=status&"+query+after, nil)
			for _, set := range page["items"].([]any) {
				out = append(out, set.(map[string]any)["name"].(string))
			}
			cursor, more := page["pagination"].(map[string]any)["after_cursor"].(string)
			if !more {
				return out
			}
			after = "&after=" + cursor
		}
	}
	order := []string{"active", "default-zone-policies", "seed-zone-policies", "waiting", "archived"}
	g.Expect(names("")).To(Equal(order))
	slices.Reverse(order)
	g.Expect(names("order=desc")).To(Equal(order))
}

// A set for a resource, a user or a session is in force beside the zone's, which
// stays the one that decides.
func TestPolicySetsOfOtherScopes(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	decides := z.activeSet()["id"]
	forbid := entry(z.addPolicy("nobody", "forbid (principal, action, resource);"))
	set := z.must("POST", "/policy-sets", map[string]any{"name": "of a resource", "scope_type": "resource"})["id"].(string)
	z.putInForce(set, []any{forbid})
	got := map[any]any{}
	for _, s := range z.must("GET", "/policy-sets?filter[active]=true", nil)["items"].([]any) {
		s := s.(map[string]any)
		g.Expect(s).To(HaveKeyWithValue("mode", "active"))
		got[s["id"]] = s["scope_type"]
	}
	g.Expect(got).To(Equal(map[any]any{decides: "zone", set: "resource"}))
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
}

// A misspelt name makes a policy that never applies: it is taken, as the hosted
// service's schema may know it, and the log says so.
func TestPolicyMisfits(t *testing.T) {
	g := NewWithT(t)
	var log lockedBuffer
	z := start(t, devzone.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	z.addPolicy("mine", `permit (principal is Keycard::Application, action, resource) when { principal.identifier == "reports" };`)
	g.Expect(log.String()).NotTo(ContainSubstring("does not fit the schema"))
	id, _ := z.addPolicy("misspelt", `permit (principal is Keycard::Client, action, resource);`)
	g.Expect(log.String()).To(And(ContainSubstring("policy does not fit the schema"), ContainSubstring(id), ContainSubstring("Keycard::Client")))
}

func TestPolicyErrors(t *testing.T) {
	z := start(t, devzone.Config{})
	mine, version := z.addPolicy("mine", "permit (principal, action, resource);")
	other, otherVersion := z.addPolicy("other", "permit (principal, action, resource);")
	archived, archivedVersion := z.addPolicy("archived", "permit (principal, action, resource);")
	namesake, namesakeVersion := z.addPolicy("namesake", "permit (principal, action, resource);")
	newSet := func(name string, entries ...any) (id, path string) {
		id = z.must("POST", "/policy-sets", map[string]any{"name": name})["id"].(string)
		return id, z.putInForce(id, entries)
	}
	_, retired := newSet("retired", entry(archived, archivedVersion))
	_, confused := newSet("confused", entry(mine, version), entry(namesake, namesakeVersion))
	set, inForce := newSet("set", entry(mine, version), entry(other, otherVersion))
	z.must("DELETE", "/policies/"+archived, nil)
	z.must("PATCH", "/policies/"+namesake, map[string]any{"name": "mine"})
	everything := map[string]any{"op": "All"}
	statement := func(principal, conditions any) map[string]any {
		return map[string]any{"effect": "permit", "principal": principal, "action": everything, "resource": everything, "conditions": conditions}
	}
	longPolicy := statement(everything, []any{map[string]any{"kind": "when", "body": map[string]any{"Value": strings.Repeat("x", 17000)}}})
	oddPolicy := statement(map[string]any{"op": "is", "entity_type": "Key card"}, []any{})
	platform := z.must("GET", "/policies?filter[owner_type]=platform", nil)["items"].([]any)[0].(map[string]any)
	cedar := func(body map[string]any) map[string]any {
		if _, ok := body["schema_version"]; !ok {
			body["schema_version"] = schemaVersion
		}
		return body
	}
	manifest := func(entries ...any) map[string]any {
		return map[string]any{"schema_version": schemaVersion, "manifest": map[string]any{"entries": entries}}
	}
	versions, setVersions := "/policies/"+mine+"/versions", "/policy-sets/"+set+"/versions"
	tests := map[string]struct {
		method, path string
		body         map[string]any
		status       int
		message      string
	}{
		"no name":            {"POST", "/policies", map[string]any{}, 400, "name: is required"},
		"platform's policy":  {"PATCH", "/policies/" + platform["id"].(string), map[string]any{"name": "x"}, 403, "the policy belongs to the platform and cannot be changed: make one of your own"},
		"platform's version": {"POST", "/policies/" + platform["id"].(string) + "/versions", cedar(map[string]any{"cedar_raw": "permit (principal, action, resource);"}), 403, "belongs to the platform"},
		"unknown policy":     {"GET", "/policies/nope", nil, 404, `no policy has the id "nope"`},
		"bad Cedar":          {"POST", versions, cedar(map[string]any{"cedar_raw": "permit (principal, action, resource)\nwhen { oops"}), 400, "cedar_raw: is not a Cedar policy"},
		"empty Cedar":        {"POST", versions, cedar(map[string]any{"cedar_raw": " "}), 400, "cedar_raw: holds no policy"},
		"no Cedar":           {"POST", versions, cedar(map[string]any{}), 400, "cedar_raw: exactly one of cedar_raw and cedar_json is required"},
		"both":               {"POST", versions, cedar(map[string]any{"cedar_raw": "x", "cedar_json": map[string]any{}}), 400, "exactly one of cedar_raw and cedar_json is required"},
		"bad JSON form":      {"POST", versions, cedar(map[string]any{"cedar_json": map[string]any{"effect": "maybe"}}), 400, "cedar_json: is not a Cedar policy in JSON"},
		"schema version":     {"POST", versions, cedar(map[string]any{"schema_version": "2020-01-01", "cedar_raw": "permit (principal, action, resource);"}), 400, "schema_version: must be one of 2026-02-24, 2026-03-16, 2026-06-18"},
		"archived policy":    {"PATCH", "/policies/" + archived, map[string]any{"name": "x"}, 409, "the policy is archived and cannot be changed: make another"},
		"policy in force":    {"DELETE", "/policies/" + mine, nil, 409, `the policy is part of version 1 of the policy set "set", which is in force: activate another version first`},
		"version in force":   {"DELETE", versions + "/" + version, nil, 409, "the policy version is part of version 1"},
		"set in force":       {"DELETE", "/policy-sets/" + set, nil, 409, "the policy set is in force in the zone: activate a version of another set first"},
		"set version":        {"DELETE", inForce, nil, 409, "the policy set version is in force in the zone"},
		"scope type":         {"POST", "/policy-sets", map[string]any{"name": "x", "scope_type": "planet"}, 400, "scope_type: must be one of zone, resource, user, session"},
		"empty manifest":     {"POST", setVersions, manifest(), 400, "manifest.entries: is required, with at least one entry: a set without policies denies everything"},
		"unknown entry":      {"POST", setVersions, manifest(entry("nope", version)), 400, "manifest.entries[0]: policy_id: no policy of the zone has this id"},
		"foreign version":    {"POST", setVersions, manifest(entry(mine, archivedVersion)), 400, "policy_version_id: the policy has no version with this id"},
		"archived entry":     {"POST", setVersions, manifest(entry(archived, archivedVersion)), 400, "the policy or its version is archived"},
		"entry twice":        {"POST", setVersions, manifest(entry(mine, version), entry(mine, version)), 400, "manifest.entries[1]: policy_id: the policy is there twice"},
		"entries of texts":   {"POST", setVersions, manifest("x"), 400, "manifest.entries: must be an array of objects with texts in policy_id, policy_version_id and sha"},
		"entry, named twice": {"POST", setVersions, manifest(entry(mine, version), entry(namesake, namesakeVersion)), 400, `manifest.entries[1]: policy_id: another entry's policy is named "mine" too: rename one`},
		"renamed to another": {"PATCH", "/policies/" + other, map[string]any{"name": "mine"}, 409, `name: version 1 of the policy set "set", which is in force, has another policy named "mine": choose another name`},
		"activate archived":  {"PATCH", retired, map[string]any{"active": true}, 409, `version 1 of the policy set "retired" holds the policy "archived", which is archived: make a version without it`},
		"activate namesakes": {"PATCH", confused, map[string]any{"active": true}, 409, `version 1 of the policy set "confused" holds two policies named "mine": rename one`},
		"two problems":       {"POST", setVersions, map[string]any{"schema_version": "x"}, 400, "schema_version: must be one of 2026-02-24, 2026-03-16, 2026-06-18; manifest.entries: is required"},
		"long Cedar":         {"POST", versions, cedar(map[string]any{"cedar_raw": "permit (principal, action, resource) when { " + strings.Repeat("(", 500000)}), 400, "cedar_raw: must be at most 16384 bytes long as text, got 500044: split the policy"},
		"deep Cedar":         {"POST", versions, cedar(map[string]any{"cedar_raw": "permit (principal, action, resource) when { " + strings.Repeat("!", 5000) + "true };"}), 400, "cedar_raw: is nested more than 250 levels deep"},
		"long JSON form":     {"POST", versions, cedar(map[string]any{"cedar_json": longPolicy}), 400, "cedar_json: must be at most 16384 bytes long as text"},
		"no name in JSON":    {"POST", versions, cedar(map[string]any{"cedar_json": oddPolicy}), 400, "cedar_json: is not a Cedar policy in JSON: error in principal: invalid entity_type"},
		"no default schema":  {"PATCH", "/policy-schemas/2026-06-18", map[string]any{"is_default": false}, 400, "is_default: must be true: make another version the default to put this one out of it"},
		"digest":             {"POST", setVersions, manifest(map[string]any{"policy_id": mine, "policy_version_id": version, "sha": "sha256:0"}), 400, "sha: is not the policy version's, which is sha256:"},
		"put out of force":   {"PATCH", inForce, map[string]any{"active": false}, 400, "active: must be true: activate another version to put this one out of force"},
		"version of another": {"GET", "/policies/" + archived + "/versions/" + version, nil, 404, "no policy version has the id"},
		"format":             {"GET", versions + "?format=yaml", nil, 400, "format: must be cedar or json"},
		"sort":               {"GET", "/policies?sort=name", nil, 400, "sort: must be one of created_at"},
		"order":              {"GET", "/policies?order=up", nil, 400, "order: must be asc or desc"},
		"owner":              {"GET", "/policy-sets?filter[owner_type]=me", nil, 400, "filter[owner_type]: must be one of platform, customer"},
		"active":             {"GET", "/policy-sets?filter[active]=1", nil, 400, "filter[active]: must be one of true, false"},
		"ids and cursor":     {"GET", "/policies?filter[id]=x&after=y", nil, 400, "filter[id]: must not be used together with after and before"},
		"too many ids":       {"GET", "/policies?" + strings.Repeat("filter[id]=x&", 101), nil, 400, "filter[id]: must be given at most 100 times, got 101"},
		"unknown schema":     {"GET", "/policy-schemas/2020-01-01", nil, 404, `no policy schema has the id "2020-01-01"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var body any
			if tt.body != nil {
				body = tt.body
			}
			got := z.api(tt.method, tt.path, body)
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got.Body).To(HaveKeyWithValue("message", ContainSubstring(tt.message)))
		})
	}
}
