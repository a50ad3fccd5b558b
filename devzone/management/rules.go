// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits in characters.
const (
	maxIdentifier  = 2048
	maxName        = 255
	maxDescription = 2048
	maxURL         = 2048
)

var htmlTag = regexp.MustCompile(`<[A-Za-z/!?][^>]*>`)

// rule returns what is wrong with a value, or "".
type rule = func(string) string

func isIdentifier(s string) string { return safeText(s, 1, maxIdentifier) }

func isName(s string) string { return safeText(s, 1, maxName) }

func isDescription(s string) string { return safeText(s, 0, maxDescription) }

func safeText(s string, shortest, longest int) string {
	n := utf8.RuneCountInString(s)
	switch {
	case n < shortest || n > longest:
		return fmt.Sprintf("must be %d to %d characters long, got %d", shortest, longest, n)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	case htmlTag.MatchString(s):
		return "must not contain HTML tags"
	}
	return ""
}

func isNotEmpty(s string) string {
	if s == "" {
		return "must not be empty"
	}
	return ""
}

// isURL accepts absolute http and https URLs. It does not repeat the value,
// because a URL can hold credentials.
func isURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return "must be an absolute http or https URL"
	}
	if utf8.RuneCountInString(s) > maxURL {
		return fmt.Sprintf("must be at most %d characters long", maxURL)
	}
	return ""
}

// isScope accepts the characters of RFC 6749, section 3.3.
func isScope(s string) string {
	bad := func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }
	if s == "" || strings.ContainsFunc(s, bad) {
		return "must be scopes of printable ASCII characters without space, quote and backslash"
	}
	return ""
}

func isOneOf(words ...string) rule {
	return func(s string) string {
		if slices.Contains(words, s) {
			return ""
		}
		return "must be one of " + strings.Join(words, ", ")
	}
}
