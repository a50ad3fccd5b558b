// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// The stand-in understands conditions on type, space, title and text, joined by
// AND, with = (equal) and ~ (contains). The rest of CQL is refused rather than
// answered wrongly.
var (
	cqlAnd       = regexp.MustCompile(`(?i)\s+and\s+`)
	cqlOrder     = regexp.MustCompile(`(?i)\s*\border\s+by\s+[a-z]+(\s+(asc|desc))?\s*$`)
	cqlCondition = regexp.MustCompile(`^(?i)(type|space|title|text)\s*(=|~)\s*(?:"([^"]*)"|([^\s"]+))$`)
)

type condition func(located) bool

// parseCQL returns what is wrong with a query as an error.
func parseCQL(query string) ([]condition, error) {
	query = strings.TrimSpace(cqlOrder.ReplaceAllString(query, ""))
	var out []condition
	for _, text := range cqlAnd.Split(query, -1) {
		parts := cqlCondition.FindStringSubmatch(strings.TrimSpace(text))
		if parts == nil {
			return nil, fmt.Errorf("Could not parse cql : %s", query) //nolint:staticcheck // the service's wording
		}
		field, contains, value := strings.ToLower(parts[1]), parts[2] == "~", parts[3]+parts[4]
		if contains && field != "title" && field != "text" || !contains && field == "text" {
			return nil, fmt.Errorf("Could not parse cql : %s can't be compared with %s", field, parts[2]) //nolint:staticcheck // as above
		}
		out = append(out, func(p located) bool { return matchesCQL(p, field, value, contains) })
	}
	return out, nil
}

func matchesCQL(p located, field, value string, contains bool) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(value)) }
	switch {
	case field == "type":
		return value == "page"
	case field == "space":
		return value == p.space.Key
	case field == "title" && contains:
		return has(p.Title)
	case field == "title":
		return value == p.Title
	default:
		return has(p.Title) || has(p.Body)
	}
}

// search answers GET /wiki/rest/api/search.
func (s *Server) search(w http.ResponseWriter, r *http.Request, c caller) {
	q := r.URL.Query()
	conditions, err := parseCQL(q.Get("cql"))
	if err != nil {
		confluenceError(w, r, http.StatusBadRequest, "", err.Error())
		return
	}
	found := []any{}
	for _, p := range s.visiblePages(c) {
		if !slices.ContainsFunc(conditions, func(f condition) bool { return !f(p) }) {
			found = append(found, searchResult(p))
		}
	}
	writeList(w, r, c, found, map[string]any{"totalSize": len(found), "cqlQuery": q.Get("cql"), "searchDuration": 1})
}

// listContent answers GET /wiki/rest/api/content: the pages, since there is no other content.
func (s *Server) listContent(w http.ResponseWriter, r *http.Request, c caller) {
	found := []any{}
	for _, p := range s.visiblePages(c) {
		found = append(found, searchResult(p)["content"])
	}
	writeList(w, r, c, found, nil)
}

// listSpacesV1 answers GET /wiki/rest/api/space.
func (s *Server) listSpacesV1(w http.ResponseWriter, r *http.Request, c caller) {
	found := []any{}
	for _, sp := range c.site.Spaces {
		if c.sees(sp.RestrictedTo) {
			found = append(found, map[string]any{
				"id": number(sp.ID), "key": sp.Key, "name": sp.Name, "type": "global", "status": "current",
				"_links": map[string]string{"webui": "/spaces/" + sp.Key},
			})
		}
	}
	writeList(w, r, c, found, nil)
}

// writeList answers a list of version 1: the elements from start on, and a link to the next ones that is relative to the
// site's /wiki. more is what else the answer has.
func writeList(w http.ResponseWriter, r *http.Request, c caller, found []any, more map[string]any) {
	q := r.URL.Query()
	start, ok1 := countParameter(q.Get("start"), 0, 0, 1<<30)
	limit, ok2 := countParameter(q.Get("limit"), defaultPageSize, 1, maxPageSize)
	if !ok1 || !ok2 {
		confluenceError(w, r, http.StatusBadRequest, "", "start must be a number from 0, limit one from 1 to 250")
		return
	}
	from := min(start, len(found))
	to := min(from+limit, len(found))
	links := map[string]string{"base": c.site.URL + "/wiki", "context": "/wiki", "self": c.site.URL + sitePath(r.URL) + "?" + r.URL.RawQuery}
	if to < len(found) {
		q.Set("start", strconv.Itoa(to))
		links["next"] = strings.TrimPrefix(sitePath(r.URL), "/wiki") + "?" + q.Encode()
	}
	answer := map[string]any{"results": found[from:to], "start": from, "limit": limit, "size": to - from, "_links": links}
	maps.Copy(answer, more)
	wire.JSON(w, http.StatusOK, answer)
}

// countParameter reads a number within bounds, which may be left out.
func countParameter(text string, otherwise, least, most int) (int, bool) {
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= least && n <= most
}

func searchResult(p located) map[string]any {
	path := "/spaces/" + p.space.Key + "/pages/" + p.ID
	return map[string]any{
		"content": map[string]any{
			"id": p.ID, "type": "page", "status": "current", "title": p.Title, "_links": map[string]string{"webui": path},
		},
		"title": p.Title, "excerpt": "", "url": path,
		"resultGlobalContainer": map[string]string{"title": p.space.Name, "displayUrl": "/spaces/" + p.space.Key},
		"entityType":            "content", "iconCssClass": "aui-icon content-type-page",
		"lastModified": p.ChangedAt, "friendlyLastModified": p.ChangedAt[:len("2006-01-02")], "score": 0.0,
	}
}
