// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// maxFilterIDs is how many values filter[id] takes.
const maxFilterIDs = 100

// params are the parameters of a query.
type params url.Values

func (p params) one(name string) string { return url.Values(p).Get(name) }
func (p params) has(name string) bool   { return url.Values(p).Has(name) }

// filters are the parameters of a list that choose rows.
type filters[T any] map[string]filter[T]

// filter turns the values of a parameter that is there into a test, or returns what is wrong with
// them.
type filter[T any] func(c *call, values []string) (keep func(T) bool, problem string)

// test is what all filters of a query choose.
func (f filters[T]) test(c *call) (func(T) bool, error) {
	q := c.params
	var tests []func(T) bool
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !q.has(name) {
			continue
		}
		keep, problem := f[name](c, q[name])
		if problem != "" {
			return nil, badRequest("%s: %s", name, problem)
		}
		tests = append(tests, keep)
	}
	if q.has("filter[id]") && (q.has("after") || q.has("before")) {
		return nil, badRequest("filter[id]: must not be used together with after and before")
	}
	if status := q.one("status"); q.has("active") && status != "" && status != store.GrantActive {
		return nil, badRequest("active: contradicts status")
	}
	return func(row T) bool {
		return !slices.ContainsFunc(tests, func(keep func(T) bool) bool { return !keep(row) })
	}, nil
}

// is chooses rows with a value; an empty one chooses all. Only the accepted ones, if any are given,
// may be asked for.
func is[T any](of func(T) string, accepted ...string) filter[T] {
	return func(_ *call, values []string) (func(T) bool, string) {
		want := values[0]
		if want == "" {
			return func(T) bool { return true }, ""
		}
		if len(accepted) > 0 {
			if problem := isOneOf(accepted...)(want); problem != "" {
				return nil, problem
			}
		}
		return func(row T) bool { return of(row) == want }, ""
	}
}

// whether chooses rows that are so, or are not: true or false.
func whether[T any](of func(T) bool) filter[T] {
	return is(func(row T) string {
		if of(row) {
			return "true"
		}
		return "false"
	}, "true", "false")
}

// must chooses rows that are so; its only value is true.
func must[T any](of func(T) bool) filter[T] {
	return func(_ *call, values []string) (func(T) bool, string) {
		if values[0] != "true" {
			return nil, "the only accepted value is true"
		}
		return of, ""
	}
}

// among chooses rows that have one of several values, in any case.
func among[T any](of func(T) string) filter[T] {
	return func(_ *call, values []string) (func(T) bool, string) {
		if len(values) > maxFilterIDs {
			return nil, fmt.Sprintf("must be given at most %d times, got %d", maxFilterIDs, len(values))
		}
		return func(row T) bool {
			return slices.ContainsFunc(values, func(one string) bool { return strings.EqualFold(one, of(row)) })
		}, ""
	}
}

// contains chooses rows that have each value as a part of one of their texts, in any case.
func contains[T any](of ...func(T) string) filter[T] {
	return func(_ *call, values []string) (func(T) bool, string) {
		return func(row T) bool {
			return !slices.ContainsFunc(values, func(part string) bool {
				return !slices.ContainsFunc(of, func(text func(T) string) bool {
					return strings.Contains(strings.ToLower(text(row)), strings.ToLower(part))
				})
			})
		}, ""
	}
}

// either makes a filter known by two names.
func either[T any](f filters[T], first, second string, one filter[T]) filters[T] {
	f[first], f[second] = one, one
	return f
}

// owners are the filter of lists that the platform has objects in.
func owners[T any](of func(T) string) filter[T] {
	return is(of, store.OwnerPlatform, store.OwnerCustomer)
}

// by orders rows by a text, in any case.
func by[T any](of func(T) string) func(a, b T) int {
	return func(a, b T) int { return cmp.Compare(strings.ToLower(of(a)), strings.ToLower(of(b))) }
}

// sortRows sorts rows, which are in the order of their creation, by the parameters sort, a list of
// fields in which a - asks for the descending order, and order. It reports whether they are in
// another order now.
func sortRows[T any](q params, orders map[string]func(a, b T) int, seq func(T) uint64, rows []T) (bool, error) {
	accepted := map[string]func(a, b T) int{"created_at": func(a, b T) int { return cmp.Compare(seq(a), seq(b)) }}
	maps.Copy(accepted, orders)
	names := strings.Split(cmp.Or(q.one("sort"), "created_at"), ",")
	last := "created_at"
	if strings.HasPrefix(names[len(names)-1], "-") {
		last = "-created_at"
	}
	var compares []func(a, b T) int
	for _, name := range append(names, last) {
		field, descending := strings.CutPrefix(name, "-")
		compare := accepted[field]
		if compare == nil {
			return false, badRequest("sort: must be one of %s, or several with commas between, with - before one for the descending order",
				strings.Join(slices.Sorted(maps.Keys(accepted)), ", "))
		}
		if descending != (q.one("order") == "desc") {
			ascending := compare
			compare = func(a, b T) int { return ascending(b, a) }
		}
		compares = append(compares, compare)
	}
	if problem := isOneOf("", "asc", "desc")(q.one("order")); problem != "" {
		return false, badRequest("order: must be asc or desc")
	}
	slices.SortStableFunc(rows, func(a, b T) int {
		for _, compare := range compares {
			if c := compare(a, b); c != 0 {
				return c
			}
		}
		return 0
	})
	return cmp.Or(q.one("sort"), "created_at") != "created_at" || q.one("order") == "desc", nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
