// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"slices"
	"strings"
	"testing"
)

func TestShippedEntries(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if names := c.Names(); !slices.Equal(names, []string{"atlassian-mcp", "confluence", "jira"}) {
		t.Errorf("entries are %v", names)
	}
	confluence := c["confluence"]
	classic := 0
	for _, s := range confluence.Scopes {
		if !strings.HasSuffix(s.Name, ":confluence") || s.Name == "search:confluence" || strings.HasPrefix(s.Name, "readonly:") {
			classic++
		}
	}
	if classic != 15 {
		t.Errorf("confluence has %d classic scopes, Atlassian lists 15", classic)
	}
	defaults, unknown := confluence.Offer(nil, nil)
	if len(unknown) > 0 || !slices.Equal(defaults, []string{"read:confluence-content.all", "write:confluence-content"}) {
		t.Errorf("offers %v, not %v", defaults, unknown)
	}
	if got := confluence.WithRefresh(defaults); !slices.Contains(got, "offline_access") || len(defaults) != 2 {
		t.Errorf("with refresh: %v, before: %v", got, defaults)
	}
}

func TestOffer(t *testing.T) {
	e := Entry{Name: "x", Scopes: []Scope{{Name: "a", Default: true}, {Name: "b"}, {Name: "c"}}}
	tests := map[string]struct{ add, set, want, unknown []string }{
		"defaults":       {nil, nil, []string{"a"}, nil},
		"added":          {[]string{"c", "b"}, nil, []string{"a", "b", "c"}, nil},
		"added again":    {[]string{"a"}, nil, []string{"a"}, nil},
		"set":            {nil, []string{"b"}, []string{"b"}, nil},
		"unknown, added": {[]string{"z", "b"}, nil, nil, []string{"z"}},
		"unknown, set":   {nil, []string{"z", "y"}, nil, []string{"z", "y"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, unknown := e.Offer(tc.add, tc.set)
			if !slices.Equal(unknown, tc.unknown) || tc.unknown == nil && !slices.Equal(got, tc.want) {
				t.Fatalf("offers %v, not %v", got, unknown)
			}
		})
	}
}

func TestMalformedEntries(t *testing.T) {
	good := `
name: x
title: X
docsURL: https://docs.example
provider: {identifier: "https://p.example", name: P, authorizationEndpoint: "https://p.example/a", tokenEndpoint: "https://p.example/t"}
resource: {identifier: "https://r.example", name: R}
scopes: [{name: a, description: A, default: true}]
`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ from, to, says string }{
		"unknown field":   {"title: X", "titel: X", "titel"},
		"no title":        {"title: X", "title: ''", "title is empty"},
		"http":            {"https://p.example/t", "http://p.example/t", "provider.tokenEndpoint"},
		"no default":      {", default: true", "", "no scope is a default"},
		"scope twice":     {"default: true}]", "default: true}, {name: a, description: B}]", `scope "a"`},
		"no description":  {"description: A", "description: ''", `scope "a"`},
		"not YAML at all": {"name: x", "name: [", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(strings.Replace(good, tc.from, tc.to, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("said %v, want %q", err, tc.says)
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	entry := c["confluence"]
	tests := map[string][]string{
		"read:confluence-content.al":  {"read:confluence-content.all", "read:confluence-content.summary"},
		"Search:Confluence":           {"search:confluence", "read:group:confluence"},
		"https://example.com/unheard": entry.names(),
	}
	for scope, want := range tests {
		if _, unknown := entry.Offer([]string{scope}, nil); !slices.Equal(unknown, []string{scope}) {
			t.Errorf("%s: unknown are %v", scope, unknown)
		}
		if near := entry.Near([]string{scope}); !slices.Equal(near, want) {
			t.Errorf("%s: near are %v", scope, near)
		}
	}
	if near := entry.Near([]string{"Search:Confluence", "https://example.com/unheard"}); len(near) != len(entry.Scopes) {
		t.Errorf("one has none near: %v", near)
	}
	if near := c.Near("confluense"); !slices.Equal(near, []string{"confluence"}) {
		t.Errorf("near are %v", near)
	}
	if near := c.Near("salesforce"); !slices.Equal(near, c.Names()) {
		t.Errorf("none is near: %v", near)
	}
}
