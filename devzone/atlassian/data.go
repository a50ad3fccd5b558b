// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import "slices"

// Data is what the stand-in knows: apps of the developer console, people, and
// the content of their sites.
type Data struct {
	Apps  []App  `json:"apps,omitempty"`
	Users []User `json:"users,omitempty"`
	Sites []Site `json:"sites,omitempty"`
	// RateLimit is off when absent.
	RateLimit *RateLimit `json:"rateLimit,omitempty"`
}

// App is an OAuth 2.0 integration of the developer console.
type App struct {
	Name         string `json:"name"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// Callback is the one URL that the app may send people back to.
	Callback string `json:"callback"`
	// Scopes are the ones enabled for the app. offline_access needs no enabling.
	Scopes []string `json:"scopes"`
}

// User is an Atlassian account.
type User struct {
	AccountID string `json:"accountId"`
	Email     string `json:"email"`
	Name      string `json:"name"`
}

// Site is a Confluence Cloud site.
type Site struct {
	CloudID string `json:"cloudId"`
	URL     string `json:"url"`
	Name    string `json:"name"`
	// Members are the e-mail addresses of those who may use the site.
	Members []string `json:"members"`
	// BlockedApps are client ids that the site's app access policy refuses.
	BlockedApps []string `json:"blockedApps,omitempty"`
	Spaces      []Space  `json:"spaces,omitempty"`
}

// Space is a Confluence space.
type Space struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Name string `json:"name"`
	// RestrictedTo are the e-mail addresses of those who see the space; empty
	// means every member of the site.
	RestrictedTo []string `json:"restrictedTo,omitempty"`
	Pages        []Page   `json:"pages,omitempty"`
}

// Page is a Confluence page.
type Page struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Parent is the id of the page above, if any.
	Parent string `json:"parent,omitempty"`
	// Body is in the storage format.
	Body string `json:"body,omitempty"`
	// RestrictedTo are the e-mail addresses of those who see the page; empty
	// means everybody who sees the space.
	RestrictedTo []string `json:"restrictedTo,omitempty"`
}

// RateLimit bounds the requests of one app to one site.
type RateLimit struct {
	Requests int `json:"requests"`
	// Seconds is the length of the window.
	Seconds int `json:"seconds"`
}

// HasSite tells whether there is a site with the URL that the account may use.
func (d Data) HasSite(siteURL, email string) bool {
	return slices.ContainsFunc(d.Sites, func(s Site) bool {
		return s.URL == siteURL && slices.Contains(s.Members, email)
	})
}
