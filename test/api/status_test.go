// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The bounds of a status are those the operator has to keep: one field out of them, and the whole write is
// refused.

func resourceStatusRows() []row {
	return slices.Concat(
		statusRows,
		boundedRows("status.redirectURI", "%q", "status.redirectURI", 2048),
		boundedRows("status.providerID", "%q", "status.providerID", 255),
		boundedRows("status.resourceID", "%q", "status.resourceID", 255),
		boundedRows("status.oauthAppHash", "%q", "status.oauthAppHash", 128),
		boundedRows("status.consentClientID", "%q", "status.consentClientID", 2048),
		conditionRows(10),
		boundedRows("status.applications", "[{identifier: %q, id: i}]", "status.applications[0].identifier", 2048),
		boundedRows("status.applications", "[{identifier: a, id: %q}]", "status.applications[0].id", 255),
		boundedRows("status.policies", "[{name: %q, id: i, versionID: v, hash: h}]", "status.policies[0].name", 63),
		boundedRows("status.policies", "[{name: p, id: %q, versionID: v, hash: h}]", "status.policies[0].id", 255),
		boundedRows("status.policies", "[{name: p, id: i, versionID: %q, hash: h}]", "status.policies[0].versionID", 255),
		boundedRows("status.policies", "[{name: p, id: i, versionID: v, hash: %q}]", "status.policies[0].hash", 128),
		[]row{
			{"200 applications", "status.applications", list(200, "{identifier: a%d, id: i}"), ""},
			{"201 applications", "status.applications", list(201, "{identifier: a%d, id: i}"), tooMany("status.applications", 201, 200)},
			{"an application twice", "status.applications", "[{identifier: a, id: i}, {identifier: a, id: j}]", `status.applications[1]: Duplicate value: {"identifier":"a"}`},
			{"an empty application", "status.applications", "[{}]", lines(required("status.applications[0].id"), required("status.applications[0].identifier"))},
			{"64 policies", "status.policies", list(64, "{name: n%d, id: i, versionID: v, hash: h}"), ""},
			{"65 policies", "status.policies", list(65, "{name: n%d, id: i, versionID: v, hash: h}"), tooMany("status.policies", 65, 64)},
			{"a policy twice", "status.policies", list(2, "{name: p, id: i, versionID: v, hash: h%d}"), `status.policies[1]: Duplicate value: {"name":"p"}`},
			{"an empty policy", "status.policies", "[{}]", lines(required("status.policies[0].hash"), required("status.policies[0].id"), required("status.policies[0].name"), required("status.policies[0].versionID"))},
			{"no workloads", "status.workloads", "0", ""},
			{"workloads below 0", "status.workloads", "-1", "status.workloads: Invalid value: -1: workloads in body should be greater than or equal to 0"},
		},
	)
}

// conditionRows are those of a list of conditions that holds up to limit.
func conditionRows(limit int) []row {
	return []row{
		{fmt.Sprintf("%d conditions", limit), "status.conditions", list(limit, condition), ""},
		{fmt.Sprintf("%d conditions", limit+1), "status.conditions", list(limit+1, condition), tooMany("status.conditions", limit+1, limit)},
	}
}

func bindingStatusRows() []row {
	rows := slices.Concat(
		statusRows,
		conditionRows(8),
		boundedRows("status.lastRefreshRequest", "%q", "status.lastRefreshRequest", 64),
		boundedRows("status.refreshProblem", "%q", "status.refreshProblem", 64),
		boundedRows("status.user", "%q", "status.user", 1024),
		boundedRows("status.consentURL", "%q", "status.consentURL", 2048),
		boundedRows("status.site", "{url: %q, cloudID: c}", "status.site.url", 255),
		boundedRows("status.site", "{url: u, cloudID: %q}", "status.site.cloudID", 128),
		[]row{
			{"site without a URL", "status.site", "{cloudID: c}", required("status.site.url")},
			{"restart without a token", "status.restart", "{}", required("status.restart.tokenIssuedAt")},
			{"restart that was never made", "status.restart", `{tokenIssuedAt: "2026-03-01T12:00:00Z"}`, ""},
			{"site without a cloud id", "status.site", "{url: u}", required("status.site.cloudID")},
		},
		pendingRows(),
	)
	for _, field := range []string{"issuedAt", "expiresAt", "refreshAt"} {
		rows = append(rows,
			row{field + " of a time", "status." + field, `"2026-03-01T12:00:00Z"`, ""},
			row{field + " of words", "status." + field, "tomorrow", fmt.Sprintf(`status.%s: Invalid value: "tomorrow": %[1]s in body must be of type date-time: "tomorrow"`, field)},
		)
	}
	return rows
}

// pendingRows are those of the workloads that a restart did not reach.
func pendingRows() []row {
	const (
		field = "status.restart.pending"
		entry = "{kind: Deployment, name: %s, reason: RestartFailed}"
	)
	restart := func(pending string) string {
		return `{tokenIssuedAt: "2026-03-01T12:00:00Z", pending: ` + pending + "}"
	}
	named := func(name string) string { return restart("[" + fmt.Sprintf(entry, name) + "]") }
	numbered := strings.Replace(entry, "%s", "w%d", 1)
	return []row{
		{"8 pending", "status.restart", restart(list(8, numbered)), ""},
		{"9 pending", "status.restart", restart(list(9, numbered)), tooMany(field, 9, 8)},
		{"pending twice", "status.restart", restart("[" + fmt.Sprintf(entry, "w") + ", " + fmt.Sprintf(entry, "w") + "]"), field + `[1]: Duplicate value: {"kind":"Deployment","name":"w"}`},
		{"pending nothing", "status.restart", restart("[{}]"), lines(required(field+"[0].kind"), required(field+"[0].name"), required(field+"[0].reason"))},
		{"pending a name of 253", "status.restart", named(long(253)), ""},
		{"pending a name of 254", "status.restart", named(long(254)), tooLong(field+"[0].name", 253)},
		{"pending an empty name", "status.restart", named(`""`), emptyStatus("restart.pending[0].name")},
		{"pending a job", "status.restart", restart("[{kind: Job, name: w, reason: RestartFailed}]"), unsupported(field+"[0].kind", "Job", `"Deployment", "StatefulSet", "DaemonSet"`)},
		{"pending for fun", "status.restart", restart("[{kind: Deployment, name: w, reason: Fun}]"), unsupported(field+"[0].reason", "Fun", `"RestartForbidden", "RestartTargetNotFound", "RestartFailed"`)},
	}
}

// emptyStatus is like empty. In a status, the apiserver's message leaves out where the field begins.
func emptyStatus(field string) string {
	return fmt.Sprintf(`status.%s: Invalid value: "": %[1]s in body should be at least 1 chars long`, field)
}

// boundedRows are those of a string that has a least and a greatest length.
func boundedRows(path, yaml, field string, limit int) []row {
	return []row{
		{field + " empty", path, fmt.Sprintf(yaml, ""), emptyStatus(strings.TrimPrefix(field, "status."))},
		{field + " of full length", path, fmt.Sprintf(yaml, long(limit)), ""},
		{field + " one too long", path, fmt.Sprintf(yaml, long(limit+1)), tooLong(field, limit)},
	}
}

// list is a YAML list of n entries; the format gets the entry's number.
func list(n int, format string) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(entries, ", ") + "]"
}

const condition = `{type: C%d, status: "True", reason: R, message: "", lastTransitionTime: "2026-03-01T11:00:00Z"}`

// statusRows are those of both kinds.
var statusRows = []row{
	{"a condition twice", "status.conditions", list(2, strings.Replace(condition, "C%d", "C, observedGeneration: %d", 1)), `status.conditions[1]: Duplicate value: {"type":"C"}`},
	{"generation 0", "status.observedGeneration", "0", ""},
	{"generation below 0", "status.observedGeneration", "-1", "status.observedGeneration: Invalid value: -1: observedGeneration in body should be greater than or equal to 0"},
	{"100 scopes", "status.scopes", list(100, "s%d"), ""},
	{"101 scopes", "status.scopes", list(101, "s%d"), tooMany("status.scopes", 101, 100)},
	{"a scope of 128", "status.scopes", "[" + long(128) + "]", ""},
	{"a scope of 129", "status.scopes", "[" + long(129) + "]", tooLong("status.scopes[0]", 128)},
	{"an empty scope", "status.scopes", `[""]`, emptyStatus("scopes[0]")},
	// The zone has the last word on what it granted; only the user's own lists are checked for form.
	{"a scope with a bracket", "status.scopes", `["a[b]", offline_access]`, ""},
}

func TestStatus(t *testing.T) {
	for kind, tc := range map[string]struct {
		base string
		rows []row
	}{
		"KeycardResource":        {resourceYAML, resourceStatusRows()},
		"ConfluenceTokenBinding": {bindingYAML, bindingStatusRows()},
	} {
		t.Run(kind, func(t *testing.T) {
			before := stored(t, "status", tc.base)
			for _, r := range tc.rows {
				t.Run(r.name, func(t *testing.T) {
					u := before.DeepCopy()
					r.change(t, u)
					err := api.Status().Update(t.Context(), u, &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{
						DryRun: []string{"All"}, FieldValidation: "Strict",
					}})
					r.check(t, err)
				})
			}
		})
	}
}

// Who may write the spec can't forge a status, and who may write the status can't change the spec.
func TestStatusIsApart(t *testing.T) {
	status := func(generation int64) map[string]any { return map[string]any{"observedGeneration": generation} }
	for kind, base := range map[string]string{"KeycardResource": resourceYAML, "ConfluenceTokenBinding": bindingYAML} {
		t.Run(kind, func(t *testing.T) {
			forged := stored(t, "apart", base+"status: {observedGeneration: 7}\n")
			expect(t, forged, 1, nil, nil)

			forged.Object["status"] = status(7)
			row{path: "spec.suspend", value: "true"}.change(t, forged)
			if err := api.Update(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			expect(t, forged, 2, true, nil)

			forged.Object["status"] = status(2)
			row{path: "spec.suspend", value: "false"}.change(t, forged)
			if err := api.Status().Update(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			expect(t, forged, 2, true, status(2))
		})
	}
}

// expect compares what is stored.
func expect(t *testing.T, u *unstructured.Unstructured, generation int64, suspend any, status map[string]any) {
	t.Helper()
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
		t.Fatal(err)
	}
	got, _, err := unstructured.NestedFieldNoCopy(u.Object, "spec", "suspend")
	if err != nil || got != suspend || u.GetGeneration() != generation {
		t.Errorf("generation %d, suspend %v, %v; want %d, %v", u.GetGeneration(), got, err, generation, suspend)
	}
	if have, _ := u.Object["status"].(map[string]any); !maps.Equal(have, status) {
		t.Errorf("status %v; want %v", have, status)
	}
}
