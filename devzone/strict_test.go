// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

// What the API does not know is refused when the server is strict. It is ignored, and warned of,
// otherwise.
func TestUnknownNames(t *testing.T) {
	strict := start(t, devzone.Config{})
	log := &lockedBuffer{}
	lax := startAs(t, devzone.Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	for name, tt := range map[string]struct {
		method, path string
		body         map[string]any
		unknown      string
	}{
		"filter":              {"GET", "/providers?identifer=x", nil, "?identifer"},
		"two parameters":      {"GET", "/resources?b=1&a=2", nil, "?a, ?b"},
		"cursor":              {"GET", "/resources?cursor=x", nil, "?cursor"},
		"parameter of one":    {"GET", "/users/{user}?fields=id", nil, "?fields"},
		"parameter of a POST": {"POST", "/providers?upsert=true", map[string]any{"identifier": "urn:a", "name": "a"}, "?upsert"},
		"field":               {"POST", "/resources", map[string]any{"identifier": "urn:b", "name": "b", "scopes_supported": []string{"x"}}, "scopes_supported"},
		"field of a change":   {"PATCH", "/providers/{provider}", map[string]any{"nmae": "x"}, "nmae"},
		"nested field":        {"PATCH", "/providers/{provider}", map[string]any{"protocols": map[string]any{"oauth2": map[string]any{"token_url": "x"}}}, "protocols.oauth2.token_url"},
		"type of a provider":  {"POST", "/providers", map[string]any{"identifier": "urn:c", "name": "c", "type": "keycard-vault"}, "type"},
		"field of another type": {
			"POST", "/application-credentials", map[string]any{"application_id": "{app}", "type": "public", "subject": "x"}, "subject",
		},
		"body that says nothing": {"PUT", "/applications/{app}/dependencies/{resource}", map[string]any{"when_accessing": []string{}}, "when_accessing"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ask := func(z *zone) reply {
				provider, resource := z.installed()
				user := z.must("GET", "/users", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
				r := strings.NewReplacer("{provider}", provider, "{resource}", resource, "{app}", z.app(), "{user}", user)
				if tt.body == nil {
					return z.api(tt.method, r.Replace(tt.path), nil)
				}
				raw, err := json.Marshal(tt.body)
				g.Expect(err).NotTo(HaveOccurred())
				return z.api(tt.method, r.Replace(tt.path), r.Replace(string(raw)))
			}
			got := ask(strict)
			g.Expect(got.Status).To(Equal(400), got.Raw)
			g.Expect(got.Body).To(And(HaveKeyWithValue("code", "bad_request"), HaveKeyWithValue("message", ContainSubstring(tt.unknown))))
			g.Expect(log.String()).NotTo(ContainSubstring("level=WARN"))
			got = ask(lax)
			g.Expect(got.Status).To(BeNumerically("<", 300), got.Raw)
			warned := strings.ReplaceAll(log.String(), `"`, "")
			g.Expect(strings.Count(warned, "level=WARN")).To(Equal(1), warned)
			g.Expect(warned).To(ContainSubstring("names=[" + strings.ReplaceAll(tt.unknown, ", ", " ") + "]"))
			log.reset()
		})
	}
}

// installed are the ids of what install registers, once.
func (z *zone) installed() (providerID, resourceID string) {
	z.t.Helper()
	found := z.must("GET", "/resources?identifier="+confluence, nil)["items"].([]any)
	if len(found) == 0 {
		return z.install(nil)
	}
	resource := found[0].(map[string]any)
	return resource["credential_provider_id"].(string), resource["id"].(string)
}
