// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"fmt"
	"net/url"
	"slices"
)

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

// Validate reports the first inconsistency, naming the field.
func (d Data) Validate() error {
	emails := map[string]bool{}
	for i, u := range d.Users {
		if u.Email == "" || u.AccountID == "" {
			return fmt.Errorf("users[%d]: email and accountId are required", i)
		}
		if emails[u.Email] {
			return fmt.Errorf("users[%d].email: %q is there twice", i, u.Email)
		}
		emails[u.Email] = true
	}
	clients := map[string]bool{}
	for i, a := range d.Apps {
		if err := a.validate(); err != nil {
			return fmt.Errorf("apps[%d].%w", i, err)
		}
		if clients[a.ClientID] {
			return fmt.Errorf("apps[%d].client_id: %q is there twice", i, a.ClientID)
		}
		clients[a.ClientID] = true
	}
	ids, urls := map[string]bool{}, map[string]bool{}
	for i, s := range d.Sites {
		if err := s.validate(emails); err != nil {
			return fmt.Errorf("sites[%d].%w", i, err)
		}
		if ids[s.CloudID] || urls[s.URL] {
			return fmt.Errorf("sites[%d]: its cloudId or url is there twice", i)
		}
		ids[s.CloudID], urls[s.URL] = true, true
	}
	if l := d.RateLimit; l != nil && (l.Requests < 1 || l.Seconds < 1) {
		return fmt.Errorf("rateLimit: requests and seconds must be at least 1")
	}
	return nil
}

func (a App) validate() error {
	if a.ClientID == "" || a.ClientSecret == "" {
		return fmt.Errorf("client_id: client_id and client_secret are required")
	}
	if u, err := url.Parse(a.Callback); err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("callback: must be an absolute URL")
	}
	return nil
}

func (s Site) validate(emails map[string]bool) error {
	if s.CloudID == "" {
		return fmt.Errorf("cloudId: is required")
	}
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
		return fmt.Errorf("url: must be an https URL without a path")
	}
	for _, m := range s.Members {
		if !emails[m] {
			return fmt.Errorf("members: no user has the email %q", m)
		}
	}
	seen := map[string]bool{}
	for i, sp := range s.Spaces {
		if !isNumber(sp.ID) || sp.Key == "" || seen["space "+sp.ID] || seen["key "+sp.Key] {
			return fmt.Errorf("spaces[%d]: needs an id of digits and a key, both unique in the site", i)
		}
		seen["space "+sp.ID], seen["key "+sp.Key] = true, true
		for j, p := range sp.Pages {
			if !isNumber(p.ID) || p.Title == "" || seen[p.ID] {
				return fmt.Errorf("spaces[%d].pages[%d]: needs a title and an id of digits, unique in the site", i, j)
			}
			seen[p.ID] = true
		}
	}
	return nil
}

// HasSite tells whether there is a site with the URL that the account may use.
func (d Data) HasSite(siteURL, email string) bool {
	return slices.ContainsFunc(d.Sites, func(s Site) bool {
		return s.URL == siteURL && slices.Contains(s.Members, email)
	})
}

func isNumber(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}
