// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// drawItems makes a list in order, with gaps where rows were deleted.
func drawItems(t *rapid.T) []item {
	seqs := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 500), 0, 60, rapid.ID).Draw(t, "seqs")
	slices.Sort(seqs)
	items := make([]item, len(seqs))
	for i, s := range seqs {
		items[i] = item{seq: s, view: s}
	}
	return items
}

func request(t *rapid.T, query url.Values) pageRequest {
	p, err := parsePage(params(query), legacy)
	if err != nil {
		t.Fatalf("parsing %v: %v", query, err)
	}
	return p
}

// walk follows a kind of cursor from the given query to the end.
func walk(t *rapid.T, items func() []item, limit int, name string, cursor *string, next func(listed) *string) [][]any {
	var pages [][]any
	for range 1000 {
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if cursor != nil {
			query.Set(name, *cursor)
		}
		page := pageOf(items(), request(t, query), legacy)
		if len(page.Items) > limit {
			t.Fatalf("%d items on a page of %d", len(page.Items), limit)
		}
		pages = append(pages, page.Items)
		if cursor = next(page); cursor == nil {
			return pages
		}
	}
	t.Fatal("the pages never end")
	return nil
}

func after(l listed) *string  { return l.Pagination.AfterCursor }
func before(l listed) *string { return l.Pagination.BeforeCursor }

func TestPagesCoverTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		limit := rapid.IntRange(1, maxLimit).Draw(t, "limit")
		var want []any
		for _, it := range items {
			want = append(want, it.view)
		}
		forward := walk(t, func() []item { return items }, limit, "after", nil, after)
		if got := slices.Concat(forward...); !slices.Equal(got, want) {
			t.Fatalf("forward %v, want %v", got, want)
		}
		if len(items) == 0 {
			return
		}
		end := cursor(items[len(items)-1].seq + 1)
		backward := walk(t, func() []item { return items }, limit, "before", end, before)
		slices.Reverse(backward)
		if got := slices.Concat(backward...); !slices.Equal(got, want) {
			t.Fatalf("backward %v, want %v", got, want)
		}
	})
}

// TestPagesStayValidWhileRowsGo deletes rows between pages: what survives is
// seen exactly once.
func TestPagesStayValidWhileRowsGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		survivors := func() []item {
			items = slices.DeleteFunc(slices.Clone(items), func(item) bool { return rapid.IntRange(0, 9).Draw(t, "die") == 0 })
			return items
		}
		seen := map[any]int{}
		for _, v := range slices.Concat(walk(t, survivors, limit, "after", nil, after)...) {
			if seen[v]++; seen[v] > 1 {
				t.Fatalf("%v was there twice", v)
			}
		}
		for _, it := range items {
			if seen[it.view] == 0 {
				t.Fatalf("%v survived and was not seen", it.view)
			}
		}
	})
}

func TestPageBlocksAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		query := url.Values{"limit": {strconv.Itoa(rapid.IntRange(1, 20).Draw(t, "limit"))}, "expand[]": {"total_count"}}
		name := rapid.SampledFrom([]string{"after", "before", "cursor"}).Draw(t, "cursor kind")
		if rapid.Bool().Draw(t, "with cursor") {
			query.Set(name, *cursor(rapid.Uint64Range(1, 500).Draw(t, "cursor")))
		}
		page := pageOf(items, request(t, query), legacy)
		if *page.Pagination.TotalCount != len(items) {
			t.Fatalf("total_count %d of %d", *page.Pagination.TotalCount, len(items))
		}
		if len(page.Items) == 0 {
			return
		}
		if page.PageInfo.HasNextPage != (page.Pagination.AfterCursor != nil) || page.PageInfo.HasPreviousPage != (page.Pagination.BeforeCursor != nil) {
			t.Fatalf("page_info %+v disagrees with pagination %+v", page.PageInfo, page.Pagination)
		}
		first, last := items[0].view, items[len(items)-1].view
		if page.PageInfo.HasPreviousPage == (page.Items[0] == first) || page.PageInfo.HasNextPage == (page.Items[len(page.Items)-1] == last) {
			t.Fatalf("page %v of %v..%v says %+v", page.Items, first, last, page.PageInfo)
		}
		if pageOf(items, request(t, query), modern).PageInfo != nil {
			t.Fatal("page_info on a list that has none")
		}
	})
}
