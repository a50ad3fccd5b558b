// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/disk"
)

const pages = "/ex/confluence/" + cloudA + "/wiki/api/v2/pages"

// writable is data whose app may write and search.
func writable() atlassian.Data {
	d := data()
	d.Apps[0].Scopes = append(d.Apps[0].Scopes, "write:confluence-content", "search:confluence")
	return d
}

// writer is a token that may write and search.
func (s *standIn) writer(email string) string {
	s.t.Helper()
	scope := url.Values{"scope": {allScope + " write:confluence-content search:confluence"}}
	return s.redeem(s.code(email, scope, cloudA)).body["access_token"].(string)
}

func (s *standIn) send(method, path, token string, body map[string]any) reply {
	s.t.Helper()
	raw, err := json.Marshal(body)
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	return s.do(method, path, "application/json", string(raw), token)
}

func page(change map[string]any) map[string]any {
	p := map[string]any{
		"spaceId": "1", "status": "current", "title": "New", "body": map[string]any{"representation": "storage", "value": "<p>new</p>"},
	}
	for k, v := range change {
		p[k] = v
	}
	return p
}

func version(n int) map[string]any { return map[string]any{"number": n, "message": "why"} }

func TestPageLife(t *testing.T) {
	g := NewWithT(t)
	db, err := disk.Open(filepath.Join(t.TempDir(), "data"), bytes.Repeat([]byte{1}, disk.KeySize))
	g.Expect(err).NotTo(HaveOccurred())
	defer db.Close()
	s := start(t, atlassian.Config{Data: writable(), Disk: db})
	token := s.writer(ann)

	created := s.send("POST", pages, token, page(map[string]any{"parentId": "11"}))
	g.Expect(created.status).To(Equal(200), created.raw)
	g.Expect(created.body).To(And(HaveKeyWithValue("id", "22"), HaveKeyWithValue("parentId", "11"), HaveKeyWithValue("authorId", "ann-id"),
		HaveKeyWithValue("createdAt", "2026-03-01T12:00:00.000Z"), HaveKeyWithValue("version", HaveKeyWithValue("number", 1.0))))
	changed := s.send("PUT", pages+"/22", s.writer(ben), page(map[string]any{"id": "22", "title": "Newer", "version": version(2)}))
	g.Expect(changed.status).To(Equal(200), changed.raw)
	g.Expect(changed.body).To(And(HaveKeyWithValue("title", "Newer"), HaveKeyWithValue("authorId", "ann-id"), HaveKeyWithValue("parentId", "11"),
		HaveKeyWithValue("version", And(HaveKeyWithValue("number", 2.0), HaveKeyWithValue("authorId", "ben-id"), HaveKeyWithValue("message", "why")))))
	seeded := s.send("PUT", pages+"/12", token, page(map[string]any{"id": "12", "title": "Changed child", "version": version(2)}))
	g.Expect(seeded.status).To(Equal(200), seeded.raw)
	g.Expect(s.do("DELETE", pages+"/11", "", "", token).status).To(Equal(204))
	g.Expect(s.do("DELETE", pages+"/11", "", "", token).status).To(Equal(404))
	g.Expect(s.get(pages+"/11", token).status).To(Equal(404))

	titles := func(s *standIn) (out []string) {
		for _, r := range s.get(pages, token).body["results"].([]any) {
			out = append(out, r.(map[string]any)["title"].(string))
		}
		return out
	}
	want := []string{"Changed child", "Private", "Newer", "Hidden"}
	g.Expect(titles(s)).To(Equal(want))
	// Another process on the same folder has the same pages and knows the token.
	again := start(t, atlassian.Config{Data: writable(), Disk: db})
	g.Expect(titles(again)).To(Equal(want))
	g.Expect(again.send("POST", pages, token, page(map[string]any{"title": "Later"})).body).To(HaveKeyWithValue("id", "23"))
}

func TestPagesRefused(t *testing.T) {
	s := start(t, atlassian.Config{Data: writable()})
	annToken, benToken := s.writer(ann), s.writer(ben)
	reader, _ := s.login(ann, cloudA)
	tests := map[string]struct {
		method, path, token string
		body                map[string]any
		status              int
		title               string
	}{
		"scope":           {"POST", pages, reader, page(nil), 401, ""},
		"scope to delete": {"DELETE", pages + "/11", reader, nil, 401, ""},
		"hidden space":    {"POST", pages, benToken, page(map[string]any{"spaceId": "2"}), 404, "Not Found"},
		"no space":        {"POST", pages, annToken, page(map[string]any{"spaceId": nil}), 404, "Not Found"},
		"status":          {"POST", pages, annToken, page(map[string]any{"status": "draft"}), 400, "Provided value for 'status' is not current"},
		"no title":        {"POST", pages, annToken, page(map[string]any{"title": ""}), 400, "Provided value for 'title' is not 1 to 255 characters long"},
		"long title":      {"POST", pages, annToken, page(map[string]any{"title": strings.Repeat("x", 256)}), 400, "Provided value for 'title' is not 1 to 255 characters long"},
		"title type":      {"POST", pages, annToken, page(map[string]any{"title": 1}), 400, "The body is not a JSON object of the documented shape"},
		"representation":  {"POST", pages, annToken, page(map[string]any{"body": map[string]any{"representation": "wiki"}}), 400, "Provided value for 'body.representation' is not storage"},
		"taken title":     {"POST", pages, annToken, page(map[string]any{"title": "Home"}), 400, "A page with this title already exists: A page already exists with the same TITLE in this space"},
		"parent":          {"POST", pages, annToken, page(map[string]any{"parentId": "21"}), 400, "Provided value for 'parentId' is not a page of the space"},
		"own parent":      {"PUT", pages + "/11", annToken, page(map[string]any{"id": "11", "parentId": "11", "version": version(2)}), 400, "Provided value for 'parentId' is not a page of the space"},
		"version":         {"PUT", pages + "/11", annToken, page(map[string]any{"id": "11", "version": version(3)}), 409, "Version must be incremented when updating a page. Current Version: [1]. Provided version: [3]"},
		"no version":      {"PUT", pages + "/11", annToken, page(map[string]any{"id": "11"}), 409, "Version must be incremented when updating a page. Current Version: [1]. Provided version: [0]"},
		"other id":        {"PUT", pages + "/11", annToken, page(map[string]any{"id": "12", "version": version(2)}), 400, "Provided value for 'id' differs from the page in the path"},
		"not visible":     {"PUT", pages + "/13", benToken, page(map[string]any{"id": "13", "version": version(2)}), 404, "Not Found"},
		"delete hidden":   {"DELETE", pages + "/13", benToken, nil, 404, "Not Found"},
		"large":           {"POST", pages, annToken, page(map[string]any{"message": strings.Repeat("x", 2<<20)}), 413, "The body is larger than 1048576 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			before := s.get(pages, annToken).raw
			got := s.send(tt.method, tt.path, tt.token, tt.body)
			g.Expect(got.status).To(Equal(tt.status), got.raw)
			if tt.title != "" {
				g.Expect(got.body["errors"]).To(ConsistOf(HaveKeyWithValue("title", tt.title)))
			}
			g.Expect(s.get(pages, annToken).raw).To(Equal(before))
		})
	}
	NewWithT(t).Expect(s.do("POST", pages, "text/plain", "{}", annToken).status).To(Equal(415))
}

func TestSearch(t *testing.T) {
	s := start(t, atlassian.Config{Data: writable()})
	token, ben := s.writer(ann), s.writer(ben)
	const path = "/ex/confluence/" + cloudA + "/wiki/rest/api/search"
	for name, tt := range map[string]struct {
		query url.Values
		token string
		want  []string
	}{
		"all":         {url.Values{"cql": {"type=page"}}, token, []string{"11", "12", "13", "21"}},
		"what I see":  {url.Values{"cql": {"type = page"}}, ben, []string{"11", "12"}},
		"space":       {url.Values{"cql": {`type=page AND space="TWO"`}}, token, []string{"21"}},
		"title":       {url.Values{"cql": {`title = "Home" order by created desc`}}, token, []string{"11"}},
		"title part":  {url.Values{"cql": {"title ~ ivat"}}, token, []string{"13"}},
		"text":        {url.Values{"cql": {"text ~ HOME and type=page"}}, token, []string{"11"}},
		"none":        {url.Values{"cql": {"type=blogpost"}}, token, nil},
		"second page": {url.Values{"cql": {"type=page"}, "start": {"2"}, "limit": {"1"}}, token, []string{"13"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := s.get(path+"?"+tt.query.Encode(), tt.token)
			g.Expect(got.status).To(Equal(200), got.raw)
			var ids []string
			for _, r := range got.body["results"].([]any) {
				ids = append(ids, r.(map[string]any)["content"].(map[string]any)["id"].(string))
			}
			g.Expect(ids).To(Equal(tt.want))
			g.Expect(got.body).To(HaveKeyWithValue("cqlQuery", tt.query.Get("cql")))
		})
	}
	g := NewWithT(t)
	first := s.get(path+"?cql=type%3Dpage&limit=3", token).body
	g.Expect(first).To(And(HaveKeyWithValue("size", 3.0), HaveKeyWithValue("totalSize", 4.0)))
	next := first["_links"].(map[string]any)["next"].(string)
	g.Expect(s.get("/ex/confluence/"+cloudA+"/wiki"+next, token).body).To(HaveKeyWithValue("size", 1.0))
	reader, _ := s.login(ann, cloudA)
	g.Expect(s.get(path+"?cql=type%3Dpage", reader).status).To(Equal(401))
	for _, bad := range []string{"", "cql=", "cql=label%3Dx", "cql=type~page", "cql=type%3Dpage+or+type%3Dpage", "cql=type%3Dpage&start=-1", "cql=type%3Dpage&limit=251"} {
		got := s.get(path+"?"+bad, token)
		g.Expect(got.status).To(Equal(400), bad)
		g.Expect(got.body).To(And(HaveKeyWithValue("statusCode", 400.0), HaveKey("message")))
	}
}
