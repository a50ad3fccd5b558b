// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// ErrNoProbe says that no cheap read is known which the scopes open.
var ErrNoProbe = errors.New("no read of Confluence is known that these scopes open")

// probes are reads of one element at most, and the scope that opens each. Version 2 of the REST API documents granular
// scopes only; the classic ones are tried on version 1.
var probes = []struct{ scope, path string }{
	{"read:page:confluence", "/wiki/api/v2/pages?limit=1"},
	{"read:space:confluence", "/wiki/api/v2/spaces?limit=1"},
	{"read:blogpost:confluence", "/wiki/api/v2/blogposts?limit=1"},
	{"read:content-details:confluence", "/wiki/rest/api/user/current"},
	{"read:confluence-user", "/wiki/rest/api/user/current"},
	{"search:confluence", "/wiki/rest/api/search?cql=type%3Dpage&limit=1"},
	{"read:confluence-space.summary", "/wiki/rest/api/space?limit=1"},
	{"read:confluence-content.all", "/wiki/rest/api/content?limit=1"},
	{"read:confluence-content.summary", "/wiki/rest/api/content?limit=1"},
}

// Probe reads something small from a site's Confluence, as a client with these scopes would. The error is ErrNoProbe, or the
// getter's: its status is 401 for a token that is not accepted or lacks the scope, 403 where the person or the app is not
// admitted, 404 for a site that the token is not good for.
func (c *Client) Probe(ctx context.Context, cloudID string, scopes []string, token redacted.String) error {
	for _, p := range probes {
		if slices.Contains(scopes, p.scope) {
			var ignored json.RawMessage
			return c.get.GetJSON(ctx, "trying the token at Confluence", c.ConfluenceURL(cloudID)+p.path, token, &ignored)
		}
	}
	return ErrNoProbe
}
