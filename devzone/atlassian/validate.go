// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"errors"
	"fmt"
	"net/url"
)

// Validate reports the first inconsistency, naming the field.
func (d Data) Validate() error {
	emails, clients, sites := unique{}, unique{}, unique{}
	for i, u := range d.Users {
		if err := u.validate(emails); err != nil {
			return fmt.Errorf("users[%d].%w", i, err)
		}
	}
	for i, a := range d.Apps {
		if err := a.validate(clients); err != nil {
			return fmt.Errorf("apps[%d].%w", i, err)
		}
	}
	for i, s := range d.Sites {
		if err := s.validate(emails); err != nil {
			return fmt.Errorf("sites[%d].%w", i, err)
		}
		if !sites.add("id "+s.CloudID) || !sites.add("url "+s.URL) {
			return fmt.Errorf("sites[%d]: its cloudId or url is there twice", i)
		}
	}
	if l := d.RateLimit; l != nil && (l.Requests < 1 || l.Seconds < 1) {
		return errors.New("rateLimit: requests and seconds must be at least 1")
	}
	return nil
}

func (u User) validate(emails unique) error {
	if u.Email == "" || u.AccountID == "" {
		return errors.New("email: email and accountId are required")
	}
	if !emails.add(u.Email) {
		return fmt.Errorf("email: %q is there twice", u.Email)
	}
	return nil
}

func (a App) validate(clients unique) error {
	if a.ClientID == "" || a.ClientSecret == "" {
		return errors.New("client_id: client_id and client_secret are required")
	}
	if !clients.add(a.ClientID) {
		return fmt.Errorf("client_id: %q is there twice", a.ClientID)
	}
	if u, err := url.Parse(a.Callback); err != nil || u.Scheme == "" || u.Host == "" {
		return errors.New("callback: must be an absolute URL")
	}
	return nil
}

func (s Site) validate(emails unique) error {
	if s.CloudID == "" {
		return errors.New("cloudId: is required")
	}
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
		return errors.New("url: must be an https URL without a path")
	}
	for _, m := range s.Members {
		if !emails[m] {
			return fmt.Errorf("members: no user has the email %q", m)
		}
	}
	spaces, pages := unique{}, unique{}
	for i, sp := range s.Spaces {
		if err := sp.validate(spaces, pages); err != nil {
			return fmt.Errorf("spaces[%d].%w", i, err)
		}
	}
	return nil
}

func (sp Space) validate(spaces, pages unique) error {
	if !isNumber(sp.ID) || sp.Key == "" || !spaces.add("id "+sp.ID) || !spaces.add("key "+sp.Key) {
		return errors.New("id: must be digits, and id and key must be unique in the site")
	}
	for i, p := range sp.Pages {
		if !isNumber(p.ID) || p.Title == "" || !pages.add(p.ID) {
			return fmt.Errorf("pages[%d]: needs a title and an id of digits, unique in the site", i)
		}
	}
	return nil
}

// unique finds repeated names.
type unique map[string]bool

// add returns false when the name is there already.
func (u unique) add(name string) bool {
	again := u[name]
	u[name] = true
	return !again
}

func isNumber(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}
