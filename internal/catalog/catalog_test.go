// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"errors"
	"fmt"
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
	defaults, err := confluence.Offer(nil, nil)
	if err != nil || !slices.Equal(defaults, []string{"read:confluence-content.all", "write:confluence-content"}) {
		t.Errorf("offers %v, %v", defaults, err)
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
			got, err := e.Offer(tc.add, tc.set)
			var unknown *UnknownScopeError
			if errors.As(err, &unknown) != (tc.unknown != nil) || !slices.Equal(got, tc.want) {
				t.Fatalf("offers %v, %v", got, err)
			}
			if unknown != nil && (!slices.Equal(unknown.Unknown, tc.unknown) || !strings.Contains(err.Error(), "it knows a, b, c")) {
				t.Errorf("said %v", err)
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
	tests := map[string]string{
		"read:confluence-content.al":  "catalog entry confluence does not know read:confluence-content.al (did you mean read:confluence-content.all or read:confluence-content.summary?)",
		"Search:Confluence":           "catalog entry confluence does not know Search:Confluence (did you mean search:confluence or read:group:confluence?)",
		"https://example.com/unheard": "catalog entry confluence does not know https://example.com/unheard; it knows ",
	}
	for scope, says := range tests {
		_, err := c["confluence"].Offer([]string{scope}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: said %v", scope, err)
		}
	}
	_, err = c.Find("confluense")
	if err == nil || err.Error() != `the catalog has no entry "confluense" (did you mean confluence?); it has atlassian-mcp, confluence, jira` {
		t.Errorf("said %v", err)
	}
	if e, err := c.Find("jira"); err != nil || e.Name != "jira" {
		t.Errorf("found %v, %v", e.Name, err)
	}
}

// A scope with one letter missing is known again.
func TestNearest(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c {
		var known []string
		for _, s := range e.Scopes {
			known = append(known, s.Name)
		}
		for _, name := range known {
			for i := range name {
				short := name[:i] + name[i+1:]
				if near := nearest(short, known); len(near) == 0 || len(near[0]) > len(short)+1 {
					t.Fatalf("%s: for %q it suggests %v", e.Name, short, near)
				}
			}
		}
	}
}

// Entries that share an upstream say the same of it.
func TestEntriesAgree(t *testing.T) {
	one := Entry{Name: "one", Provider: Provider{Identifier: "p", TokenEndpoint: "t"}, Resource: Resource{Identifier: "r"}}
	same, other := one, one
	same.Name, other.Name, other.Resource.Identifier, other.Provider.TokenEndpoint = "same", "other", "s", "u"
	c := Catalog{"one": one}
	for says, e := range map[string]Entry{
		`resource.identifier "r" is that of entry one`:                         same,
		`provider "p" differs from that of entry one, with which it is shared`: other,
	} {
		if err := c.agrees(e); fmt.Sprint(err) != says {
			t.Errorf("said %v", err)
		}
	}
	other.Provider = one.Provider
	if err := c.agrees(other); err != nil {
		t.Error(err)
	}
}
