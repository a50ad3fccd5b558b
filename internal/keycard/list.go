// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

const (
	pageSize = "100"

	// maxPages bounds the work of one list: 50,000 objects by pages of 100, also where a server ignores the filters, are
	// several times what a zone has.
	maxPages = 500
	// maxCursor bounds a cursor, which is sent back in the URL, and remembered.
	maxCursor = 4 << 10
)

// bounds are what may be kept of one list: an install names the server, which may answer anything without end, and several
// lists are under way at once.
type bounds struct{ objects, bytes int }

var (
	// many is for lists that grow with the cluster and the people: an application for each workload, a grant for each person.
	// The largest cluster that the operator is measured with has 20,000 bindings, and an object has some 600 bytes.
	many = bounds{objects: 25_000, bytes: 16 << 20}
	// few is for what is one object, or a handful.
	few = bounds{objects: 100, bytes: 256 << 10}
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

// page is one page of a list, whose items are not decoded yet. Items is a pointer because an answer without items must not pass
// for an empty list: the caller would go on to create a duplicate.
type page struct {
	Items      *[]json.RawMessage `json:"items"`
	Pagination struct {
		AfterCursor string `json:"after_cursor"`
	} `json:"pagination"`
}

// listing is one list, read page by page.
type listing[T object] struct {
	management *ManagementClient
	request    request
	// keep has the last word: filters in the query are the server's to apply or to ignore.
	keep func(T) bool
}

// newListing makes a list of the objects at path that keep admits.
func newListing[T object](m *ManagementClient, op string, query url.Values, keep func(T) bool, path ...string) listing[T] {
	query = maps.Clone(query)
	query.Set("limit", pageSize)
	return listing[T]{m, request{op: op, method: http.MethodGet, path: path, query: query}, keep}
}

// each reads all pages and calls take with each object that keep admits, and its size, until take fails.
func (l listing[T]) each(ctx context.Context, take func(item T, size int) error) error {
	seen := map[string]bool{}
	for range maxPages {
		var p page
		if err := l.management.send(ctx, l.request, &p); err != nil {
			return err
		}
		if p.Items == nil {
			return l.fault("answered a list without items")
		}
		if err := l.takeFrom(*p.Items, take); err != nil {
			return err
		}
		after := p.Pagination.AfterCursor
		switch {
		case after == "":
			return nil
		case len(after) > maxCursor:
			return l.fault("answered a cursor of more than %d bytes", maxCursor)
		case seen[after]:
			return l.fault("answered pages in a circle: a cursor came twice")
		}
		seen[after] = true
		l.request.query.Set("after", after)
	}
	return l.fault("answered more than %d pages", maxPages)
}

func (l listing[T]) takeFrom(items []json.RawMessage, take func(item T, size int) error) error {
	for _, raw := range items {
		var item T
		if json.Unmarshal(raw, &item) != nil {
			return l.fault("answered malformed JSON")
		}
		if !l.keep(item) {
			continue
		}
		if err := checkIDs(l.request.op, item); err != nil {
			return err
		}
		if err := take(item, len(raw)); err != nil {
			return err
		}
	}
	return nil
}

// fault is an answer that is none.
func (l listing[T]) fault(format string, args ...any) error {
	return &Error{Op: l.request.op, Class: Transient, Description: fmt.Sprintf(format, args...)}
}

// all gives the objects of the list, and fails when there are more than may be kept.
func (l listing[T]) all(ctx context.Context, most bounds) ([]T, error) {
	var kept []T
	bytes := 0
	err := l.each(ctx, func(item T, size int) error {
		bytes += size
		if len(kept) == most.objects || bytes > most.bytes {
			return misconfigured(l.request.op, "the zone has more than %d such objects, or more than %d KiB of them; remove some there",
				most.objects, most.bytes>>10)
		}
		kept = append(kept, item)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// listAll returns all objects that keep admits.
func listAll[T object](ctx context.Context, m *ManagementClient, op string, query url.Values, keep func(T) bool,
	path ...string,
) ([]T, error) {
	return newListing(m, op, query, keep, path...).all(ctx, many)
}

// find returns the one object that keep admits, and false when there is none.
func find[T object](ctx context.Context, m *ManagementClient, op string, query url.Values, keep func(T) bool,
	path ...string,
) (found T, ok bool, err error) {
	err = newListing(m, op, query, keep, path...).each(ctx, func(item T, _ int) error {
		if ok {
			return misconfigured(op, "several objects match where one was expected")
		}
		found, ok = item, true
		return nil
	})
	if err != nil {
		var none T
		return none, false, err
	}
	return found, ok, nil
}
