// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Page sizes.
const (
	defaultLimit = 100
	maxLimit     = 100
)

const cursorPrefix = "seq:"

// pageRequest is the paging part of a list's query.
type pageRequest struct {
	after, before uint64
	limit         int
	total         bool
	// sorted says that the items are not in the order of their creation. A cursor
	// then names the item that it stands for.
	sorted bool
}

// pagination is the block that every list has.
type pagination struct {
	AfterCursor  *string `json:"after_cursor"`
	BeforeCursor *string `json:"before_cursor"`
	TotalCount   *int    `json:"total_count,omitempty"`
}

// shape is the form of a list.
type shape int

const (
	// modern lists have the block pagination.
	modern shape = iota
	// legacy lists have page_info in addition.
	legacy
	// uncursored lists are legacy ones without the parameter cursor.
	uncursored
	// ordered lists are those of the policy families: modern, with a parameter order, and expand is
	// sent without brackets by their SDK.
	ordered
	// organizational lists are those of the organization family: page_info alone, with a key of
	// its own.
	organizational
	// bare lists are a JSON array.
	bare
)

// params are the parameters of a list's paging.
func (s shape) params() []string {
	out := []string{"after", "before", "limit", "expand[]"}
	switch s {
	case legacy, organizational:
		return append(out, "cursor")
	case ordered:
		return append(out, "expand", "order")
	case bare:
		return nil
	}
	return out
}

// informs reports whether the lists have page_info.
func (s shape) informs() bool { return s == legacy || s == uncursored || s == organizational }

// listParams are the parameters of a kind's list.
func (k kind[T]) listParams() []string {
	out := slices.Concat(k.shape.params(), slices.Collect(maps.Keys(k.filters)), k.shown)
	if k.orders != nil {
		out = append(out, "sort")
	}
	return out
}

// pageInfo is the older block that some lists have in addition.
type pageInfo struct {
	HasNextPage     bool    `json:"has_next_page"`
	HasPreviousPage bool    `json:"has_previous_page"`
	StartCursor     *string `json:"start_cursor"`
	EndCursor       *string `json:"end_cursor"`
}

// organizationList is a list of the organization family.
type organizationList struct {
	Items    []any                `json:"items"`
	PageInfo organizationPageInfo `json:"page_info"`
}

type organizationPageInfo struct {
	HasNextPage bool    `json:"has_next_page"`
	HasPrevPage bool    `json:"has_prev_page"`
	StartCursor *string `json:"start_cursor"`
	EndCursor   *string `json:"end_cursor"`
}

// listed is the body of a list answer.
type listed struct {
	Items      []any      `json:"items"`
	Pagination pagination `json:"pagination"`
	PageInfo   *pageInfo  `json:"page_info,omitempty"`
}

// item is a list element with its place in the order.
type item struct {
	seq  uint64
	view any
}

// page answers a list: it cuts the page out of all items. expands are what may be asked for besides
// the total.
func (c *call) page(items []item, sorted bool, s shape, expands ...string) (any, error) {
	p, err := parsePage(c.params, s, expands...)
	if err != nil {
		return nil, err
	}
	p.sorted = sorted
	out := pageOf(items, p, s)
	switch info := out.PageInfo; s {
	case bare:
		return out.Items, nil
	case organizational:
		return organizationList{Items: out.Items, PageInfo: organizationPageInfo{
			HasNextPage: info.HasNextPage, HasPrevPage: info.HasPreviousPage, StartCursor: info.StartCursor, EndCursor: info.EndCursor,
		}}, nil
	}
	return out, nil
}

// parsePage reads after, before, limit, expand[] and, on lists with the older
// block, cursor, which is another name for after.
func parsePage(q params, s shape, expands ...string) (pageRequest, error) {
	p := pageRequest{limit: defaultLimit}
	if s == bare {
		p.limit = math.MaxInt
		return p, nil
	}
	if err := p.parseCursors(q, slices.Contains(s.params(), "cursor")); err != nil {
		return p, err
	}
	if q.has("limit") {
		n, err := strconv.Atoi(q.one("limit"))
		if err != nil || n < 1 || n > maxLimit {
			return p, badRequest("limit: must be a number from 1 to %d", maxLimit)
		}
		p.limit = n
	}
	accepted := append([]string{"total_count"}, expands...)
	for _, e := range slices.Concat(q["expand[]"], q["expand"]) {
		if problem := isOneOf(accepted...)(e); problem != "" {
			return p, badRequest("expand[]: %s", problem)
		}
		p.total = p.total || e == "total_count"
	}
	return p, nil
}

func (p *pageRequest) parseCursors(q params, legacy bool) error {
	after, before := q.one("after"), q.one("before")
	if cursor := q.one("cursor"); legacy && cursor != "" {
		if after != "" {
			return badRequest("after and cursor must not be used together")
		}
		after = cursor
	}
	if after != "" && before != "" {
		return badRequest("after and before must not be used together")
	}
	var ok bool
	if p.after, ok = parseCursor(after); !ok {
		return badRequest("after: not a cursor of this list")
	}
	if p.before, ok = parseCursor(before); !ok {
		return badRequest("before: not a cursor of this list")
	}
	return nil
}

// pageOf cuts the page out of all items, which are in order.
func pageOf(items []item, p pageRequest, s shape) listed {
	from, to := 0, len(items)
	if p.after > 0 {
		from = p.place(items, p.after)
		if from < len(items) && items[from].seq == p.after {
			from++
		}
	}
	if p.before > 0 {
		to = p.place(items, p.before)
		from = max(0, to-p.limit)
	}
	to = min(to, from+min(p.limit, len(items)))

	out := listed{Items: make([]any, 0, to-from)}
	for _, it := range items[from:to] {
		out.Items = append(out.Items, it.view)
	}
	hasNext, hasPrevious := to < len(items), from > 0
	var start, end *string
	if from < to {
		start, end = cursor(items[from].seq), cursor(items[to-1].seq)
	}
	if hasNext {
		out.Pagination.AfterCursor = end
	}
	if hasPrevious {
		out.Pagination.BeforeCursor = start
	}
	if p.total {
		n := len(items)
		out.Pagination.TotalCount = &n
	}
	if s.informs() {
		out.PageInfo = &pageInfo{HasNextPage: hasNext, HasPreviousPage: hasPrevious, StartCursor: start, EndCursor: end}
	}
	return out
}

// place returns the index at which an item with the number is, or would be. In a
// sorted list one that is not there is at the end.
func (p *pageRequest) place(items []item, seq uint64) int {
	if !p.sorted {
		i, _ := slices.BinarySearchFunc(items, seq, compareSeq)
		return i
	}
	if i := slices.IndexFunc(items, func(it item) bool { return it.seq == seq }); i >= 0 {
		return i
	}
	return len(items)
}

func compareSeq(it item, seq uint64) int {
	switch {
	case it.seq < seq:
		return -1
	case it.seq > seq:
		return 1
	}
	return 0
}

func cursor(seq uint64) *string {
	s := base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + strconv.FormatUint(seq, 10)))
	return &s
}

// parseCursor returns 0 for an empty cursor.
func parseCursor(s string) (uint64, bool) {
	if s == "" {
		return 0, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, false
	}
	digits, ok := strings.CutPrefix(string(raw), cursorPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, err == nil && n > 0
}
