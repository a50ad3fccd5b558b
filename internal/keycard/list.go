// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

const (
	pageSize = "100"

	// maxPages bounds a list that never ends; 100,000 objects is far beyond any zone.
	maxPages = 1000
)

// object is what every management object is checked for.
type object interface{ objectID() string }

// get reads one object.
func get[T object](ctx context.Context, m *ManagementClient, op string, path ...string) (T, error) {
	return exchangeObject[T](ctx, m, request{op: op, method: http.MethodGet, path: path})
}

// exchangeObject sends r and expects one object back. Create answers 200 by the specification; 201 is
// taken as well.
func exchangeObject[T object](ctx context.Context, m *ManagementClient, r request) (T, error) {
	var out, none T
	if err := m.send(ctx, r, &out); err != nil {
		return none, err
	}
	if err := checkIDs(r.op, out); err != nil {
		return none, err
	}
	return out, nil
}

// checkIDs refuses an object without an id: it is not what was asked for, and could not be asked for again.
func checkIDs[T object](op string, objects ...T) error {
	if slices.ContainsFunc(objects, func(o T) bool { return o.objectID() == "" }) {
		return &Error{Op: op, Class: Transient, Description: "answered an object without an id"}
	}
	return nil
}

// remove deletes one object. An object that is gone already counts as deleted.
func remove(ctx context.Context, m *ManagementClient, op string, path ...string) error {
	err := m.send(ctx, request{op: op, method: http.MethodDelete, path: path}, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// page is one page of a list. Items is a pointer because an answer without items must not pass for an
// empty list: the caller would go on to create a duplicate.
type page[T any] struct {
	Items      *[]T `json:"items"`
	Pagination struct {
		AfterCursor string `json:"after_cursor"`
	} `json:"pagination"`
}

// listAll reads all pages and returns the items that keep admits. Filters in the query are the server's to
// apply or to ignore; keep has the last word.
func listAll[T object](ctx context.Context, m *ManagementClient, op string, query url.Values, keep func(T) bool,
	path ...string,
) ([]T, error) {
	query = maps.Clone(query)
	query.Set("limit", pageSize)
	var kept []T
	seen := map[string]bool{}
	for range maxPages {
		var p page[T]
		if err := m.send(ctx, request{op: op, method: http.MethodGet, path: path, query: query}, &p); err != nil {
			return nil, err
		}
		if p.Items == nil {
			return nil, &Error{Op: op, Class: Transient, Description: "answered a list without items"}
		}
		kept = append(kept, slices.DeleteFunc(*p.Items, func(item T) bool { return !keep(item) })...)
		after := p.Pagination.AfterCursor
		if after == "" {
			return kept, checkIDs(op, kept...)
		}
		if seen[after] {
			return nil, &Error{Op: op, Class: Transient, Description: "answered pages in a circle: a cursor came twice"}
		}
		seen[after] = true
		query.Set("after", after)
	}
	return nil, &Error{Op: op, Class: Transient, Description: fmt.Sprintf("answered more than %d pages", maxPages)}
}

// find returns the one item that keep admits, and false when there is none.
func find[T object](ctx context.Context, m *ManagementClient, op string, query url.Values, keep func(T) bool,
	path ...string,
) (T, bool, error) {
	var none T
	items, err := listAll(ctx, m, op, query, keep, path...)
	switch {
	case err != nil || len(items) == 0:
		return none, false, err
	case len(items) > 1:
		return none, false, misconfigured(op, "%d objects match where one was expected", len(items))
	default:
		return items[0], true, nil
	}
}
