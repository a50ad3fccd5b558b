// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package atlassian asks Atlassian which sites a token is good for, and picks the one to use. Tokens of
// OAuth 2.0 (3LO) apps work through the API gateway only, at an address that names the site by its
// cloud id.
package atlassian

import (
	"context"
	"strings"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// DefaultURL is Atlassian's API gateway.
const DefaultURL = "https://api.atlassian.com"

// Getter reads a JSON document with a bearer token.
type Getter interface {
	GetJSON(ctx context.Context, op, url string, token redacted.String, out any) error
}

// Client asks one API gateway. It is safe for concurrent use.
type Client struct {
	get Getter
	url string
}

// NewClient is a client for the gateway at url, DefaultURL outside of tests.
func NewClient(get Getter, url string) *Client {
	return &Client{get: get, url: strings.TrimRight(url, "/")}
}

// Sites lists the sites the token is good for (GET /oauth/token/accessible-resources). Its errors are
// the getter's.
func (c *Client) Sites(ctx context.Context, token redacted.String) ([]Site, error) {
	var listed []struct {
		ID     string   `json:"id"`
		Name   string   `json:"name"`
		URL    string   `json:"url"`
		Scopes []string `json:"scopes"`
	}
	err := c.get.GetJSON(ctx, "listing the Atlassian sites of the grant", c.url+"/oauth/token/accessible-resources", token, &listed)
	if err != nil {
		return nil, err
	}
	var sites []Site
	for _, l := range listed {
		if validCloudID(l.ID) && validURL(l.URL) {
			sites = append(sites, Site{CloudID: l.ID, URL: strings.TrimRight(l.URL, "/"), Name: l.Name, Scopes: l.Scopes})
		}
	}
	return sites, nil
}

// ConfluenceURL is where tokens work for the site: paths of Confluence's REST API follow it.
func (c *Client) ConfluenceURL(cloudID string) string {
	return c.url + "/ex/confluence/" + cloudID
}

// validCloudID admits what can stand in a path and in an annotation without being escaped.
func validCloudID(id string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return id != "" && len(id) <= 128 && strings.Trim(id, allowed) == ""
}

// validURL admits what can stand in a status and in a file: visible ASCII of a sane length.
func validURL(url string) bool {
	return strings.HasPrefix(url, "https://") && len(url) <= 255 && !strings.ContainsFunc(url, func(r rune) bool {
		return r <= ' ' || r > '~'
	})
}
