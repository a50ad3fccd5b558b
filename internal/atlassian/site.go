// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"fmt"
	"slices"
	"strings"
)

// Site is an Atlassian site that a token is good for.
type Site struct {
	// CloudID is Atlassian's id of the site, a UUID; URL is its address, https://<site>.atlassian.net.
	CloudID, URL, Name string
	// Scopes are what the token may do there.
	Scopes []string
}

// The ways in which no site can be chosen.
type (
	// NoSiteError says that the token is good for no Confluence site.
	NoSiteError struct{}
	// NotAccessibleError says that the token is not good for the site that is wanted.
	NotAccessibleError struct {
		Wanted string
		Sites  []string
	}
	// AmbiguousError says that the token is good for several sites, and none is wanted in particular.
	AmbiguousError struct{ Sites []string }
)

func (NoSiteError) Error() string { return "the grant covers no Confluence site" }

func (e NotAccessibleError) Error() string {
	return fmt.Sprintf("the grant does not cover %s, but %s", e.Wanted, strings.Join(e.Sites, ", "))
}

func (e AmbiguousError) Error() string {
	return fmt.Sprintf("the grant covers several sites: %s", strings.Join(e.Sites, ", "))
}

// Choose picks the site a token is used with: the wanted one, or the only one when wanted is empty.
// Atlassian lists a site once for each of its products; only entries with a Confluence scope count. The
// error is a NoSiteError, a NotAccessibleError or an AmbiguousError.
func Choose(sites []Site, wanted string) (Site, error) {
	var usable []Site
	for _, s := range sites {
		seen := slices.ContainsFunc(usable, func(u Site) bool { return u.CloudID == s.CloudID })
		if !seen && slices.ContainsFunc(s.Scopes, isConfluence) {
			usable = append(usable, s)
		}
	}
	urls := make([]string, len(usable))
	for i, s := range usable {
		urls[i] = s.URL
	}
	slices.Sort(urls)
	if len(usable) == 0 {
		return Site{}, NoSiteError{}
	}
	if wanted == "" {
		if len(usable) > 1 {
			return Site{}, AmbiguousError{Sites: urls}
		}
		return usable[0], nil
	}
	for _, s := range usable {
		if sameSite(s.URL, wanted) {
			return s, nil
		}
	}
	return Site{}, NotAccessibleError{Wanted: wanted, Sites: urls}
}

// isConfluence tells whether a scope is one of Confluence's: search:confluence, read:confluence-user,
// read:page:confluence, readonly:content.attachment:confluence.
func isConfluence(scope string) bool { return strings.Contains(scope, "confluence") }

func sameSite(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}
