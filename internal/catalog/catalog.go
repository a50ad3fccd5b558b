// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalog is the built-in list of upstream APIs that a KeycardResource can install. An entry is
// data, a YAML file in entries/, and knows the upstream's identifiers, endpoints and scopes.
package catalog

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"sigs.k8s.io/yaml"
)

// Entry is one upstream API.
type Entry struct {
	// Name is what spec.catalogEntry says.
	Name string `json:"name"`
	// Title is for people.
	Title string `json:"title"`
	// DocsURL is the upstream's own documentation of its OAuth apps.
	DocsURL  string   `json:"docsURL"`
	Provider Provider `json:"provider"`
	Resource Resource `json:"resource"`
	// RefreshScope is the scope without which the upstream gives no refresh token. It is always requested.
	RefreshScope string  `json:"refreshScope"`
	Scopes       []Scope `json:"scopes"`
}

// Provider is the upstream's OAuth server. Entries of one upstream share it.
type Provider struct {
	Identifier              string            `json:"identifier"`
	Name                    string            `json:"name"`
	AuthorizationEndpoint   string            `json:"authorizationEndpoint"`
	TokenEndpoint           string            `json:"tokenEndpoint"`
	AuthorizationParameters map[string]string `json:"authorizationParameters"`
}

// Resource is the upstream's API. Identifier is what exchanges name as their resource.
type Resource struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
}

// Scope is one scope the upstream knows.
type Scope struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Default says that it is offered when the spec does not choose.
	Default bool `json:"default,omitempty"`
}

//go:embed entries/*.yaml
var files embed.FS

// Catalog holds the entries by name.
type Catalog map[string]Entry

// Load reads and checks the built-in entries.
func Load() (Catalog, error) {
	names, err := files.ReadDir("entries")
	if err != nil {
		return nil, fmt.Errorf("listing catalog entries: %w", err)
	}
	c := Catalog{}
	for _, f := range names {
		raw, err := files.ReadFile(path.Join("entries", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading catalog entry %s: %w", f.Name(), err)
		}
		e, err := parse(raw)
		if err == nil && f.Name() != e.Name+".yaml" {
			err = fmt.Errorf("is named %q", e.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("catalog entry %s: %w", f.Name(), err)
		}
		if err := c.agrees(e); err != nil {
			return nil, fmt.Errorf("catalog entry %s: %w", f.Name(), err)
		}
		c[e.Name] = e
	}
	return c, nil
}

// agrees checks an entry against those that are there: entries of one upstream share its provider, and no two are the
// same resource.
func (c Catalog) agrees(e Entry) error {
	for _, name := range c.Names() {
		other := c[name]
		if other.Resource.Identifier == e.Resource.Identifier {
			return fmt.Errorf("resource.identifier %q is that of entry %s", e.Resource.Identifier, name)
		}
		if other.Provider.Identifier == e.Provider.Identifier && !reflect.DeepEqual(other.Provider, e.Provider) {
			return fmt.Errorf("provider %q differs from that of entry %s, with which it is shared", e.Provider.Identifier, name)
		}
	}
	return nil
}

// Near returns the names of entries that are nearest to one that the catalog does not have; all when none is near.
func (c Catalog) Near(name string) []string { return near([]string{name}, c.Names()) }

// Names lists the entries, sorted.
func (c Catalog) Names() []string {
	names := make([]string, 0, len(c))
	for n := range c {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func parse(raw []byte) (Entry, error) {
	var e Entry
	if err := yaml.UnmarshalStrict(raw, &e); err != nil {
		return e, err
	}
	return e, e.check()
}

func (e Entry) check() error {
	var errs []error
	require := func(field, value string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s is empty", field))
		}
	}
	require("name", e.Name)
	require("title", e.Title)
	require("provider.name", e.Provider.Name)
	require("resource.name", e.Resource.Name)
	for field, value := range map[string]string{
		"docsURL":                        e.DocsURL,
		"provider.identifier":            e.Provider.Identifier,
		"provider.authorizationEndpoint": e.Provider.AuthorizationEndpoint,
		"provider.tokenEndpoint":         e.Provider.TokenEndpoint,
		"resource.identifier":            e.Resource.Identifier,
	} {
		if u, err := url.Parse(value); err != nil || u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("%s %q is not an https URL", field, value))
		}
	}
	if len(e.defaults()) == 0 {
		errs = append(errs, errors.New("no scope is a default"))
	}
	seen := map[string]bool{e.RefreshScope: true}
	for _, s := range e.Scopes {
		if s.Name == "" || s.Description == "" || seen[s.Name] {
			errs = append(errs, fmt.Errorf("scope %q is empty, has no description or is there twice", s.Name))
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

func (e Entry) defaults() []string {
	var out []string
	for _, s := range e.Scopes {
		if s.Default {
			out = append(out, s.Name)
		}
	}
	return out
}

// near returns the known names that are nearest to those that are not known; all when one of them has none near.
func near(unknown, known []string) (near []string) {
	for _, name := range unknown {
		found := nearest(name, known)
		if len(found) == 0 {
			return known
		}
		near = append(near, found...)
	}
	return near
}

// nearest gives up to two of the known names, the nearest first, of those that differ in a third of their letters at
// most.
func nearest(name string, known []string) []string {
	distance := func(other string) int {
		return levenshtein.Distance(strings.ToLower(name), strings.ToLower(other), nil)
	}
	near := slices.DeleteFunc(slices.Sorted(slices.Values(known)), func(k string) bool { return 3*distance(k) > len(k) })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	return near[:min(len(near), 2)]
}

// Offer says which scopes an install offers: the defaults and add, or set instead of the defaults. The result is sorted and
// without the refresh scope. unknown are those that the entry does not have.
func (e Entry) Offer(add, set []string) (offer, unknown []string) {
	chosen := append(e.defaults(), add...)
	if len(set) > 0 {
		chosen = set
	}
	known := e.names()
	for _, s := range chosen {
		if !slices.Contains(known, s) {
			unknown = append(unknown, s)
		}
	}
	offer = slices.Clone(chosen)
	slices.Sort(offer)
	return slices.Compact(offer), unknown
}

// Near returns the scopes that are nearest to those that the entry does not have; all when none is near to one of them.
func (e Entry) Near(unknown []string) []string { return near(unknown, e.names()) }

// names lists the scopes, sorted.
func (e Entry) names() []string {
	names := make([]string, len(e.Scopes))
	for i, s := range e.Scopes {
		names[i] = s.Name
	}
	slices.Sort(names)
	return names
}

// WithRefresh adds the scope that makes the upstream give refresh tokens.
func (e Entry) WithRefresh(scopes []string) []string {
	if e.RefreshScope == "" {
		return scopes
	}
	return append(slices.Clone(scopes), e.RefreshScope)
}
