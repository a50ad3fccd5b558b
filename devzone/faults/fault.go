// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faults makes a server answer wrongly on purpose, so that clients can be
// tested against what happens to them in the world: errors, delays, broken
// answers, broken connections.
package faults

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Surfaces of the server.
const (
	Zone      = "zone"
	API       = "api"
	Atlassian = "atlassian"
)

// Fault says which requests are answered wrongly, and how.
type Fault struct {
	// Operation names a kind of request; see Operations. It stands for surface,
	// method, path and grant type, which are left out then.
	Operation string `json:"operation,omitempty"`
	// Surface is zone, api or atlassian; empty means all.
	Surface string `json:"surface,omitempty"`
	Method  string `json:"method,omitempty"`
	// Path is a pattern as of path.Match; "/**" at its end matches everything
	// below.
	Path string `json:"path,omitempty"`
	// GrantType is that of a token request.
	GrantType string `json:"grant_type,omitempty"`

	// After lets that many matching requests through first.
	After int `json:"after,omitempty"`
	// Count is how many requests are hit; 0 means all.
	Count int `json:"count,omitempty"`
	// Rate is the share of the requests that are hit, from 0 to 1; absent means
	// all. Seed makes the choice repeatable.
	Rate *float64 `json:"rate,omitempty"`
	Seed uint64   `json:"seed,omitempty"`

	// Latency delays the answer, as a duration such as 250ms. The answer may be
	// the right one.
	Latency string `json:"latency,omitempty"`
	// Status answers with this status instead.
	Status int `json:"status,omitempty"`
	// Body is the answer's; ContentType its type, application/json when absent.
	Body        string `json:"body,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	// RetryAfter is the header Retry-After, in seconds.
	RetryAfter int               `json:"retry_after,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	// Break breaks the answer: see Breaks.
	Break string `json:"break,omitempty"`

	latency time.Duration
}

// Ways to break an answer.
const (
	// Malformed answers 200 with JSON that ends too early.
	Malformed = "malformed"
	// Empty answers 200 with nothing.
	Empty = "empty"
	// HTML answers 200 with a page, as a proxy does.
	HTML = "html"
	// Truncated announces a longer answer than it sends.
	Truncated = "truncated"
	// Reset resets the connection.
	Reset = "reset"
	// Lost has the request served and resets the connection then.
	Lost = "lost"
	// Hang never answers.
	Hang = "hang"
)

// Breaks are the ways to break an answer.
var Breaks = []string{Malformed, Empty, HTML, Truncated, Reset, Lost, Hang}

// Operations are the kinds of requests that have a name.
var Operations = map[string]Fault{
	"metadata":              {Surface: Zone, Method: http.MethodGet, Path: "/.well-known/*"},
	"jwks":                  {Surface: Zone, Method: http.MethodGet, Path: "/openidconnect/jwks"},
	"token-exchange":        {Surface: Zone, Method: http.MethodPost, Path: "/oauth/2/token", GrantType: "urn:ietf:params:oauth:grant-type:token-exchange"},
	"client-credentials":    {Surface: Zone, Method: http.MethodPost, Path: "/oauth/2/token", GrantType: "client_credentials"},
	"authorization-code":    {Surface: Zone, Method: http.MethodPost, Path: "/oauth/2/token", GrantType: "authorization_code"},
	"refresh-token":         {Surface: Zone, Method: http.MethodPost, Path: "/oauth/2/token", GrantType: "refresh_token"},
	"service-account-token": {Surface: API, Method: http.MethodPost, Path: "/service-account-token"},
	"read-zone":             {Surface: API, Method: http.MethodGet, Path: "/zones/*"},
	"list-providers":        {Surface: API, Method: http.MethodGet, Path: "/zones/*/providers"},
	"create-provider":       {Surface: API, Method: http.MethodPost, Path: "/zones/*/providers"},
	"update-provider":       {Surface: API, Method: http.MethodPatch, Path: "/zones/*/providers/*"},
	"delete-provider":       {Surface: API, Method: http.MethodDelete, Path: "/zones/*/providers/*"},
	"list-resources":        {Surface: API, Method: http.MethodGet, Path: "/zones/*/resources"},
	"create-resource":       {Surface: API, Method: http.MethodPost, Path: "/zones/*/resources"},
	"update-resource":       {Surface: API, Method: http.MethodPatch, Path: "/zones/*/resources/*"},
	"delete-resource":       {Surface: API, Method: http.MethodDelete, Path: "/zones/*/resources/*"},
	"atlassian-token":       {Surface: Atlassian, Method: http.MethodPost, Path: "/oauth/token"},
	"accessible-resources":  {Surface: Atlassian, Method: http.MethodGet, Path: "/oauth/token/accessible-resources"},
	"confluence":            {Surface: Atlassian, Path: "/ex/confluence/**"},
}

// problems collects what is wrong with a fault.
type problems []error

func (p *problems) add(bad bool, format string, args ...any) {
	if bad {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// compile checks a fault and fills in what its operation stands for. The error
// names every bad field.
func (f Fault) compile() (Fault, error) {
	var p problems
	if f.Operation != "" {
		known, ok := Operations[f.Operation]
		p.add(!ok, "operation: must be one of %s, got %q", strings.Join(slices.Sorted(maps.Keys(Operations)), ", "), f.Operation)
		p.add(f.Surface+f.Method+f.Path+f.GrantType != "", "operation: stands for surface, method, path and grant_type; leave those out")
		f.Surface, f.Method, f.Path, f.GrantType = known.Surface, known.Method, known.Path, known.GrantType
	}
	f.checkRequests(&p)
	f.checkAnswer(&p)
	if f.Latency != "" {
		var err error
		f.latency, err = time.ParseDuration(f.Latency)
		p.add(err != nil || f.latency <= 0, "latency: must be a duration such as 250ms, got %q", f.Latency)
	}
	p.add(f.Latency == "" && f.Status == 0 && f.Break == "", "one of status, break and latency is required")
	return f, errors.Join(p...)
}

// checkRequests checks which requests are hit.
func (f Fault) checkRequests(p *problems) {
	p.add(!slices.Contains([]string{"", Zone, API, Atlassian}, f.Surface), "surface: must be zone, api or atlassian, got %q", f.Surface)
	_, err := path.Match(strings.TrimSuffix(f.Path, "/**"), "/")
	p.add(err != nil || (f.Path != "" && !strings.HasPrefix(f.Path, "/")), "path: must be a pattern that begins with /, got %q", f.Path)
	p.add(f.After < 0, "after: must not be negative, got %d", f.After)
	p.add(f.Count < 0, "count: must not be negative, got %d", f.Count)
	p.add(f.Rate != nil && (*f.Rate < 0 || *f.Rate > 1), "rate: must be from 0 to 1")
}

// checkAnswer checks what they get.
func (f Fault) checkAnswer(p *problems) {
	p.add(f.Status != 0 && (f.Status < 200 || f.Status > 599), "status: must be from 200 to 599, got %d", f.Status)
	p.add(f.RetryAfter < 0, "retry_after: must not be negative, got %d", f.RetryAfter)
	p.add(f.Break != "" && !slices.Contains(Breaks, f.Break), "break: must be one of %s, got %q", strings.Join(Breaks, ", "), f.Break)
	p.add(f.Status != 0 && f.Break != "", "break: must not be there together with status")
	p.add(f.Status == 0 && (f.Body != "" || f.ContentType != "" || f.RetryAfter != 0 || len(f.Headers) > 0),
		"status: is required with body, content_type, retry_after and headers")
}

// concerns tells whether a request is of those that the fault is for.
func (f Fault) concerns(surface, method, urlPath, grantType string) bool {
	for _, pair := range [][2]string{{f.Surface, surface}, {f.Method, method}, {f.GrantType, grantType}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	if below, ok := strings.CutSuffix(f.Path, "/**"); ok {
		return prefixed(below, urlPath)
	}
	matched, _ := path.Match(f.Path, urlPath)
	return f.Path == "" || matched
}

// prefixed tells whether the first elements of a path match a pattern.
func prefixed(pattern, urlPath string) bool {
	parts := strings.Split(urlPath, "/")
	n := strings.Count(pattern, "/") + 1
	if len(parts) <= n {
		return false
	}
	matched, _ := path.Match(pattern, strings.Join(parts[:n], "/"))
	return matched
}
