// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
)

// pages answers a list by cursor: the page for "" first.
func pages(byCursor map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(200, byCursor[r.URL.Query().Get("after")])(w, r)
	}
}

func pageOf(after string, items string) string {
	cursor := "null"
	if after != "" {
		cursor = `"` + after + `"`
	}
	return `{"items":[` + items + `],"pagination":{"after_cursor":` + cursor + `,"before_cursor":null,"total_count":0}}`
}

func providerJSON(id, identifier string) string {
	return fmt.Sprintf(`{"id":%q,"identifier":%q,"name":"n","owner_type":"customer"}`, id, identifier)
}

func TestFindProviderFollowsPagesAndFilters(t *testing.T) {
	const wanted = "https://auth.atlassian.com"
	tests := map[string]struct {
		pages map[string]string
		found string
		err   string
		class keycard.Class
	}{
		"none":                {pages: map[string]string{"": pageOf("", "")}},
		"on the first page":   {pages: map[string]string{"": pageOf("", providerJSON("p1", wanted))}, found: "p1"},
		"filter ignored":      {pages: map[string]string{"": pageOf("", providerJSON("p0", wanted+"/")+","+providerJSON("p1", wanted))}, found: "p1"},
		"only near matches":   {pages: map[string]string{"": pageOf("", providerJSON("p0", wanted+"/"))}},
		"on the last page":    {pages: map[string]string{"": pageOf("c1", providerJSON("p0", "x")), "c1": pageOf("c2", ""), "c2": pageOf("", providerJSON("p1", wanted))}, found: "p1"},
		"no pagination block": {pages: map[string]string{"": `{"items":[` + providerJSON("p1", wanted) + `]}`}, found: "p1"},
		"two matches": {
			pages: map[string]string{"": pageOf("c1", providerJSON("p1", wanted)), "c1": pageOf("", providerJSON("p2", wanted))},
			err:   "several objects match where one was expected", class: keycard.Misconfigured,
		},
		"a page that is its own next":  {pages: map[string]string{"": pageOf("c1", ""), "c1": pageOf("c1", "")}, err: "answered pages in a circle: a cursor came twice", class: keycard.Transient},
		"a circle of three":            {pages: map[string]string{"": pageOf("a", ""), "a": pageOf("b", ""), "b": pageOf("a", "")}, err: "answered pages in a circle: a cursor came twice", class: keycard.Transient},
		"an object instead of a list":  {pages: map[string]string{"": `{"message":"hello"}`}, err: "answered a list without items", class: keycard.Transient},
		"items that are null":          {pages: map[string]string{"": `{"items":null}`}, err: "answered a list without items", class: keycard.Transient},
		"a match without an id":        {pages: map[string]string{"": pageOf("", providerJSON("", wanted))}, err: "answered an object without an id", class: keycard.Transient},
		"others without an id":         {pages: map[string]string{"": pageOf("", providerJSON("", "x")+","+providerJSON("p1", wanted))}, found: "p1"},
		"a broken second page":         {pages: map[string]string{"": pageOf("c1", providerJSON("p1", wanted)), "c1": `{"items":[`}, err: "HTTP 200: answered malformed JSON", class: keycard.Transient},
		"a second page without a body": {pages: map[string]string{"": pageOf("c1", providerJSON("p1", wanted))}, err: "HTTP 200: answered an empty body instead of JSON", class: keycard.Transient},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("GET /zones/z1/providers", pages(tc.pages))
			p, found, err := management(t, s, options()).FindProvider(context.Background(), "z1", wanted)
			if tc.err != "" {
				g.Expect(err).To(MatchError("looking up the provider: " + tc.err))
				g.Expect(keycard.ClassOf(err)).To(Equal(tc.class))
				g.Expect(found).To(BeFalse())
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(found).To(Equal(tc.found != ""))
			g.Expect(p.ID).To(Equal(tc.found))
			for _, r := range s.requests("/zones/z1/providers") {
				query, err := url.ParseQuery(r.query)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(query["identifier"]).To(Equal([]string{wanted}))
				g.Expect(query["limit"]).To(Equal([]string{"100"}))
			}
		})
	}
}

// A server that answers without end, each page with another cursor, costs neither time nor memory without end.
func TestAListThatNeverEndsIsGivenUp(t *testing.T) {
	item := func(id, more string) string {
		return fmt.Sprintf(`{"id":%q,"identifier":"same","email":"a@b","user_id":"u","description":%q}`, id, more)
	}
	page := func(n int, more string) (items string) {
		for i := range n {
			items += item(fmt.Sprint("i", i), more) + ","
		}
		return strings.TrimSuffix(items, ",")
	}
	find := func(m *keycard.ManagementClient) error {
		_, _, err := m.FindProvider(context.Background(), "z1", "same")
		return err
	}
	providers := func(m *keycard.ManagementClient) error {
		_, err := m.ListProviders(context.Background(), "z1", func(keycard.Provider) bool { return true })
		return err
	}
	users := func(m *keycard.ManagementClient) error {
		_, err := m.ListUsersByEmail(context.Background(), "z1", "a@b")
		return err
	}
	tests := map[string]struct {
		items, cursor string
		list          func(*keycard.ManagementClient) error
		pages         int
		err           string
	}{
		"nothing":              {"", "", providers, 500, "answered more than 500 pages"},
		"one that is found":    {page(1, ""), "", find, 2, "several objects match where one was expected"},
		"many objects":         {page(1000, ""), "", providers, 26, "the zone has more than 25000 such objects, or more than 16384 KiB of them; remove some there"},
		"large objects":        {page(4, strings.Repeat("x", 200<<10)), "", providers, 21, "the zone has more than 25000 such objects, or more than 16384 KiB of them; remove some there"},
		"users of one address": {page(60, ""), "", users, 2, "the zone has more than 100 such objects, or more than 256 KiB of them; remove some there"},
		"long cursors":         {"", strings.Repeat("c", 5<<10), providers, 1, "answered a cursor of more than 4096 bytes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			asked := 0
			s.on("", func(w http.ResponseWriter, r *http.Request) {
				asked++
				answer(200, pageOf(fmt.Sprintf("%sc%d", tc.cursor, asked), tc.items))(w, r)
			})
			g.Expect(tc.list(management(t, s, options()))).To(MatchError(HaveSuffix(tc.err)))
			g.Expect(asked).To(Equal(tc.pages))
		})
	}
}

// The lists that grow with a cluster and its people are read whole.
func TestALongListIsReadWhole(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	const grants = 20_000
	asked := 0
	s.on("GET /zones/z1/delegated-grants", func(w http.ResponseWriter, r *http.Request) {
		var items []string
		for i := range 100 {
			items = append(items, fmt.Sprintf(`{"id":"g%d","user_id":"u%d","resource_id":"r1","status":"active","scopes":[%q]}`,
				100*asked+i, i, strings.Repeat("x", 500)))
		}
		asked++
		after := ""
		if asked < grants/100 {
			after = fmt.Sprint("c", asked)
		}
		answer(200, pageOf(after, strings.Join(items, ",")))(w, r)
	})
	list, err := management(t, s, options()).ListGrants(context.Background(), "z1", keycard.GrantFilter{ResourceID: "r1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(list).To(HaveLen(grants))
}
