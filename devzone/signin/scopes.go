// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"regexp"
	"strings"
)

// shownScope is a scope on the consent page.
type shownScope struct {
	Name string
	// Meaning is in words; empty when there are none for it.
	Meaning string
}

// meanings are those of the scopes of OpenID Connect and of Confluence's
// classic ones.
var meanings = map[string]string{
	"openid":         "Know who you are",
	"email":          "Know your e-mail address",
	"profile":        "Know your name",
	"offline_access": "Keep the access while you are away",

	"read:confluence-space.summary":          "Read summaries of spaces",
	"read:confluence-props":                  "Read properties of content",
	"write:confluence-props":                 "Change properties of content",
	"read:confluence-content.all":            "Read pages, blog posts, comments and attachments",
	"read:confluence-content.summary":        "Read summaries of content",
	"read:confluence-content.permission":     "See who may read and change content",
	"read:confluence-user":                   "See people's profiles",
	"read:confluence-groups":                 "See groups and who is in them",
	"write:confluence-content":               "Create and change pages, blog posts and comments",
	"write:confluence-space":                 "Create and change spaces",
	"write:confluence-file":                  "Upload attachments",
	"write:confluence-groups":                "Change groups",
	"manage:confluence-configuration":        "Change the settings of Confluence",
	"search:confluence":                      "Search in Confluence",
	"readonly:content.attachment:confluence": "Read attachments",
}

// granular matches Confluence's granular scopes.
var granular = regexp.MustCompile(`^(read|write|delete):([a-z]+(?:[.-][a-z]+)*):confluence$`)

var verbs = map[string]string{"read": "Read", "write": "Create and change", "delete": "Delete"}

// inWords adds their meanings to scopes.
func inWords(scopes []string) []shownScope {
	var out []shownScope
	for _, name := range scopes {
		out = append(out, shownScope{Name: name, Meaning: meaning(name)})
	}
	return out
}

func meaning(scope string) string {
	m := granular.FindStringSubmatch(scope)
	if m == nil {
		return meanings[scope]
	}
	noun := strings.NewReplacer(".", " ", "-", " ").Replace(m[2])
	if !strings.HasPrefix(noun, "content") {
		noun += "s"
	}
	return verbs[m[1]] + " " + noun + " in Confluence"
}
