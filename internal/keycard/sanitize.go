// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const (
	maxDescription = 300 // runes
	maxCode        = 64

	// A secret shorter than this is not searched for in a text: it would match ordinary words.
	minScrubbed = 6
)

var (
	markup = regexp.MustCompile(`(?s)<!--.*?-->|</?[A-Za-z!?][^<>]*>?`)
	code   = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)

	// What differs from attempt to attempt would make a status change for ever.
	timestamp  = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?`)
	attemptID  = regexp.MustCompile(`(?i)\b(request|trace|correlation)([ _-]?id)\b["']?\s*[:=]?\s*["']?[\w.-]+`)
	tokenChars = regexp.MustCompile(`[A-Za-z0-9_~+=%-]{10,}`)
)

// cleanDescription makes a remote text fit for a status or an event: without the secrets of the request
// it answers, without markup and control characters, without runs that look like tokens, without what
// changes from attempt to attempt, and at most 300 runes long.
func cleanDescription(text string, secrets []redacted.String) string {
	for _, s := range secrets {
		if secret := s.Reveal(); len(secret) >= minScrubbed {
			text = strings.ReplaceAll(text, secret, redacted.Placeholder)
		}
	}
	// A removed piece leaves a space, lest its neighbours join into something that was masked apart.
	text = markup.ReplaceAllString(text, " ")
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	text = timestamp.ReplaceAllString(text, "[time]")
	text = attemptID.ReplaceAllString(text, "$1$2 [id]")
	text = tokenChars.ReplaceAllStringFunc(text, func(run string) string {
		if looksLikeToken(run) {
			return redacted.Placeholder
		}
		return run
	})
	return cut(text, maxDescription)
}

// cleanCode returns an error code that is safe to show, or "" for anything that does not look like one.
func cleanCode(text string, secrets []redacted.String) string {
	if _, known := codeClasses[text]; known {
		return text
	}
	if len(text) > maxCode || !code.MatchString(text) || looksLikeToken(text) || leaks(text, secrets) {
		return ""
	}
	return text
}

// cleanRequestID is cleanCode for ids, which look like tokens by nature.
func cleanRequestID(text string, secrets []redacted.String) string {
	if len(text) > maxCode || !code.MatchString(text) || strings.HasPrefix(text, "eyJ") || leaks(text, secrets) {
		return ""
	}
	return text
}

func leaks(text string, secrets []redacted.String) bool {
	return slices.ContainsFunc(secrets, func(s redacted.String) bool {
		return len(s.Reveal()) >= minScrubbed && strings.Contains(text, s.Reveal())
	})
}

// looksLikeToken tells random text from identifiers and words: the names of applications, policies and
// scopes are the useful part of a description. Names are words between hyphens; random text mixes
// letters and digits, or goes on for longer than any word.
func looksLikeToken(run string) bool {
	s := shapeOf(run)
	switch n := len(run); {
	case strings.HasPrefix(run, "eyJ"), n >= 64:
		return true
	case n >= 32:
		return s.digits >= 5 || s.longest >= 24 || s.upper >= 5 && s.lower >= 5
	case n >= 20:
		return s.upper > 0 && s.lower > 0 && s.digits > 0
	default:
		return false
	}
}

// shape counts the letters and digits of a text, and its longest stretch of them.
type shape struct{ upper, lower, digits, longest int }

func shapeOf(text string) shape {
	var s shape
	stretch := 0
	for _, r := range text {
		stretch++
		switch {
		case r >= 'A' && r <= 'Z':
			s.upper++
		case r >= 'a' && r <= 'z':
			s.lower++
		case r >= '0' && r <= '9':
			s.digits++
		default:
			stretch = 0
		}
		s.longest = max(s.longest, stretch)
	}
	return s
}

func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}
