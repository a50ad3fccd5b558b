// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Page sizes of the REST API v2.
const (
	defaultPageSize = 25
	maxPageSize     = 250
)

// entry is an element of a list with the id that a cursor points at.
type entry struct {
	id   string
	view any
}

// writePage answers a v2 list: the elements after the cursor, and a link to the
// next page that is relative to the site, not to the gateway.
func writePage(w http.ResponseWriter, r *http.Request, c caller, all []entry) {
	q := r.URL.Query()
	limit := defaultPageSize
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > maxPageSize {
			confluenceError(w, r, http.StatusBadRequest, "INVALID_REQUEST_PARAMETER",
				"Provided value for 'limit' is not a number from 1 to 250")
			return
		}
		limit = n
	}
	from, ok := position(all, q.Get("cursor"))
	if !ok {
		confluenceError(w, r, http.StatusBadRequest, "INVALID_REQUEST_PARAMETER",
			"Provided value for 'cursor' is not a cursor of this list")
		return
	}
	to := min(len(all), from+limit)
	results := make([]any, 0, to-from)
	for _, e := range all[from:to] {
		results = append(results, e.view)
	}
	links := map[string]string{"base": c.site.URL + "/wiki"}
	if to < len(all) {
		q.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(all[to-1].id)))
		links["next"] = sitePath(r.URL) + "?" + q.Encode()
		w.Header().Set("Link", "<"+links["next"]+`>; rel="next"`)
	}
	wire.JSON(w, http.StatusOK, map[string]any{"results": results, "_links": links})
}

// position is the index of the first element after the cursor.
func position(all []entry, cursor string) (int, bool) {
	if cursor == "" {
		return 0, true
	}
	id, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	i := slices.IndexFunc(all, func(e entry) bool { return e.id == string(id) })
	return i + 1, i >= 0
}

// sitePath drops the gateway's /ex/confluence/<cloudid>.
func sitePath(u *url.URL) string {
	_, path, _ := strings.Cut(u.Path, "/wiki/")
	return "/wiki/" + path
}

// listParameter reads a parameter that may be repeated or comma-separated.
func listParameter(r *http.Request, name string) []string {
	var out []string
	for _, v := range r.URL.Query()[name] {
		out = append(out, strings.Split(v, ",")...)
	}
	return out
}

// oneOf tests a value against a filter that may be absent.
func oneOf(filter []string, value string) bool {
	return len(filter) == 0 || slices.Contains(filter, value)
}
