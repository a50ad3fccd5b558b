// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
)

func TestAccessibleResources(t *testing.T) {
	g := NewWithT(t)
	s := start(t, atlassian.Config{})
	sites := func(token string) (out []map[string]any) {
		got := s.get("/oauth/token/accessible-resources", token)
		g.Expect(got.status).To(Equal(200))
		g.Expect(json.Unmarshal([]byte(got.raw), &out)).To(Succeed())
		return out
	}
	access, _ := s.login(ann, cloudA)
	g.Expect(sites(access)).To(ConsistOf(And(HaveKeyWithValue("id", cloudA), HaveKeyWithValue("name", "a"),
		HaveKeyWithValue("url", "https://a.atlassian.net"), HaveKey("avatarUrl"),
		HaveKeyWithValue("scopes", ConsistOf("read:page:confluence", "read:space:confluence", "read:confluence-user")))))
	more, _ := s.login(ann, cloudB)
	g.Expect(sites(more)).To(HaveLen(2), "sites add up over the approvals")
	g.Expect(sites(access)).To(HaveLen(1))
	for _, token := range []string{"", "nope"} {
		got := s.get("/oauth/token/accessible-resources", token)
		g.Expect(got.status).To(Equal(401))
		g.Expect(got.body).To(And(HaveKeyWithValue("code", 401.0), HaveKeyWithValue("message", "Unauthorized")))
	}
	g.Expect(s.get("/.well-known/openid-configuration", "").body).To(HaveKeyWithValue("token_endpoint", "https://auth.atlassian.com/oauth/token"))
}

func TestConfluence(t *testing.T) {
	g := NewWithT(t)
	s := start(t, atlassian.Config{})
	annToken, _ := s.login(ann, cloudA)
	benToken, _ := s.login(ben, cloudA)
	const base = "/ex/confluence/" + cloudA

	spaces := s.get(base+"/wiki/api/v2/spaces", annToken)
	g.Expect(spaces.body["results"]).To(ConsistOf(
		And(HaveKeyWithValue("id", "1"), HaveKeyWithValue("key", "ONE"), HaveKeyWithValue("type", "global"), HaveKeyWithValue("status", "current"),
			HaveKeyWithValue("homepageId", "11"), HaveKeyWithValue("authorId", "ann-id")),
		HaveKeyWithValue("id", "2")))
	g.Expect(spaces.body["_links"]).To(And(HaveKeyWithValue("base", "https://a.atlassian.net/wiki"), Not(HaveKey("next"))))
	g.Expect(s.get(base+"/wiki/api/v2/spaces/1", benToken).body).To(HaveKeyWithValue("name", "One"))
	page := s.get(base+"/wiki/api/v2/pages/11?body-format=storage", benToken).body
	g.Expect(page).To(And(HaveKeyWithValue("title", "Home"), HaveKeyWithValue("spaceId", "1"), HaveKeyWithValue("parentId", BeNil()),
		HaveKeyWithValue("version", HaveKeyWithValue("number", 1.0)),
		HaveKeyWithValue("body", HaveKeyWithValue("storage", And(HaveKeyWithValue("value", `<p>"home"</p>`), HaveKeyWithValue("representation", "storage"))))))
	child := s.get(base+"/wiki/api/v2/pages/12", benToken).body
	g.Expect(child).To(And(HaveKeyWithValue("parentId", "11"), HaveKeyWithValue("parentType", "page"), HaveKeyWithValue("body", BeEmpty())))
	document := s.get(base+"/wiki/api/v2/pages/11?body-format=atlas_doc_format", benToken).body["body"].(map[string]any)["atlas_doc_format"].(map[string]any)
	g.Expect(json.Valid([]byte(document["value"].(string)))).To(BeTrue())
	g.Expect(s.get(base+"/wiki/rest/api/user/current", benToken).body).To(And(HaveKeyWithValue("accountId", "ben-id"),
		HaveKeyWithValue("type", "known"), HaveKeyWithValue("email", ben), HaveKeyWithValue("displayName", "Ben"), HaveKey("profilePicture")))

	classic := s.redeem(s.code(ben, url.Values{"scope": {"read:confluence-content.all"}}, cloudA)).body["access_token"].(string)
	contents := s.get(base+"/wiki/rest/api/content?limit=1", classic).body
	g.Expect(contents).To(And(HaveKeyWithValue("size", 1.0), HaveKeyWithValue("results", ConsistOf(HaveKeyWithValue("type", "page"))),
		HaveKeyWithValue("_links", HaveKeyWithValue("next", "/rest/api/content?limit=1&start=1"))))
	g.Expect(s.get(base+"/wiki/rest/api/space", benToken).body).To(And(HaveKeyWithValue("size", 1.0),
		HaveKeyWithValue("results", ConsistOf(And(HaveKeyWithValue("key", "ONE"), HaveKeyWithValue("id", 1.0))))))

	count := func(query, token string, want int) {
		t.Helper()
		got := s.get(base+"/wiki/api/v2/"+query, token)
		g.Expect(got.body["results"]).To(HaveLen(want), query+": "+got.raw)
	}
	count("spaces", benToken, 1)
	count("spaces?keys=ONE,TWO", annToken, 2)
	count("spaces?keys=TWO&keys=NONE", annToken, 1)
	count("spaces?ids=1", annToken, 1)
	count("spaces?type=personal", annToken, 0)
	count("spaces?status=archived", annToken, 0)
	count("pages", annToken, 4)
	count("pages", benToken, 2)
	count("pages?space-id=2", annToken, 1)
	count("pages?space-id=2", benToken, 0)
	count("pages?title=Child", benToken, 1)
	count("pages?id=11,13", benToken, 1)
	count("pages?status=archived", benToken, 0)
}

func TestConfluenceErrors(t *testing.T) {
	s := start(t, atlassian.Config{})
	annToken, _ := s.login(ann, cloudA)
	benToken, _ := s.login(ben, cloudA)
	blocked, _ := s.login(ann, cloudB)
	narrow := s.redeem(s.code(ben, url.Values{"scope": {"read:confluence-content.all"}}, cloudA)).body["access_token"].(string)
	const a, b = "/ex/confluence/" + cloudA, "/ex/confluence/" + cloudB
	v2 := func(status float64, code string) OmegaMatcher {
		return HaveKeyWithValue("errors", ConsistOf(And(HaveKeyWithValue("status", status), HaveKeyWithValue("code", code),
			HaveKey("title"), HaveKeyWithValue("detail", BeNil()))))
	}
	plain := func(message string) OmegaMatcher {
		return And(HaveKeyWithValue("code", 401.0), HaveKeyWithValue("message", message))
	}
	tests := map[string]struct {
		path, token string
		status      int
		want        OmegaMatcher
	}{
		"no token":             {a + "/wiki/api/v2/pages", "", 401, plain("Unauthorized")},
		"unknown token":        {a + "/wiki/api/v2/pages", "x", 401, plain("Unauthorized")},
		"scope":                {a + "/wiki/api/v2/spaces", narrow, 401, plain("Unauthorized; scope does not match")},
		"scope v1":             {a + "/wiki/rest/api/user/current", narrow, 401, plain("Unauthorized; scope does not match")},
		"classic scope on v2":  {a + "/wiki/api/v2/pages", narrow, 200, HaveKey("results")},
		"site not chosen":      {b + "/wiki/api/v2/pages", annToken, 404, v2(404, "NOT_FOUND")},
		"unknown site":         {"/ex/confluence/nope/wiki/api/v2/pages", annToken, 404, v2(404, "NOT_FOUND")},
		"app blocked":          {b + "/wiki/api/v2/pages", blocked, 403, v2(403, "FORBIDDEN")},
		"app blocked v1":       {b + "/wiki/rest/api/user/current", blocked, 403, And(HaveKeyWithValue("statusCode", 403.0), HaveKey("data"), HaveKey("message"))},
		"unknown page":         {a + "/wiki/api/v2/pages/99", annToken, 404, v2(404, "NOT_FOUND")},
		"page not visible":     {a + "/wiki/api/v2/pages/13", benToken, 404, v2(404, "NOT_FOUND")},
		"space not visible":    {a + "/wiki/api/v2/spaces/2", benToken, 404, v2(404, "NOT_FOUND")},
		"page of hidden space": {a + "/wiki/api/v2/pages/21", benToken, 404, v2(404, "NOT_FOUND")},
		"limit zero":           {a + "/wiki/api/v2/pages?limit=0", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"limit too large":      {a + "/wiki/api/v2/pages?limit=251", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"limit largest":        {a + "/wiki/api/v2/pages?limit=250", annToken, 200, HaveKey("results")},
		"bad cursor":           {a + "/wiki/api/v2/pages?cursor=!", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"foreign cursor":       {a + "/wiki/api/v2/pages?cursor=OTk", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"body format":          {a + "/wiki/api/v2/pages?body-format=view", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"body format of page":  {a + "/wiki/api/v2/pages/11?body-format=x", annToken, 400, v2(400, "INVALID_REQUEST_PARAMETER")},
		"view of page":         {a + "/wiki/api/v2/pages/11?body-format=view", annToken, 200, HaveKey("body")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.get(tt.path, tt.token)
			NewWithT(t).Expect(got.status).To(Equal(tt.status), got.raw)
			NewWithT(t).Expect(got.body).To(tt.want)
		})
	}
}

func TestConfluencePagination(t *testing.T) {
	g := NewWithT(t)
	d := data()
	d.Sites[0].Spaces[0].Pages = nil
	for i := range 30 {
		d.Sites[0].Spaces[0].Pages = append(d.Sites[0].Spaces[0].Pages, atlassian.Page{ID: fmt.Sprint(100 + i), Title: fmt.Sprint("P", i)})
	}
	s := start(t, atlassian.Config{Data: d})
	token, _ := s.login(ann, cloudA)
	var ids []string
	next := "/wiki/api/v2/pages?limit=7&space-id=1&body-format=storage"
	for pages := 0; next != ""; pages++ {
		g.Expect(pages).To(BeNumerically("<", 10))
		got := s.get("/ex/confluence/"+cloudA+next, token)
		g.Expect(got.status).To(Equal(200), got.raw)
		for _, r := range got.body["results"].([]any) {
			ids = append(ids, r.(map[string]any)["id"].(string))
		}
		links := got.body["_links"].(map[string]any)
		next, _ = links["next"].(string)
		if next != "" {
			g.Expect(next).To(And(HavePrefix("/wiki/api/v2/pages?"), ContainSubstring("limit=7"), ContainSubstring("space-id=1")))
			g.Expect(got.header.Get("Link")).To(Equal("<" + next + `>; rel="next"`))
		} else {
			g.Expect(got.header).NotTo(HaveKey("Link"))
		}
	}
	g.Expect(ids).To(HaveLen(30))
	for i, id := range ids {
		g.Expect(id).To(Equal(fmt.Sprint(100 + i)))
	}
	g.Expect(s.get("/ex/confluence/"+cloudA+"/wiki/api/v2/pages?space-id=1", token).body["results"]).To(HaveLen(25), "the default")
}

func TestRateLimit(t *testing.T) {
	g := NewWithT(t)
	d := data()
	d.RateLimit = &atlassian.RateLimit{Requests: 3, Seconds: 60}
	s := start(t, atlassian.Config{Data: d})
	token, _ := s.login(ann, cloudA)
	const path = "/ex/confluence/" + cloudA + "/wiki/api/v2/spaces"
	for i := range 3 {
		got := s.get(path, token)
		g.Expect(got.status).To(Equal(200))
		g.Expect(got.header.Get("X-RateLimit-Limit")).To(Equal("3"))
		g.Expect(got.header.Get("X-RateLimit-Remaining")).To(Equal(fmt.Sprint(2 - i)))
		g.Expect(got.header.Get("X-RateLimit-NearLimit") == "true").To(Equal(i == 2))
	}
	s.Advance(500 * time.Millisecond)
	over := s.get(path, token)
	g.Expect(over.status).To(Equal(429))
	g.Expect(over.header.Get("Retry-After")).To(Equal("60"), "rounded up")
	g.Expect(over.header.Get("X-RateLimit-Reset")).To(Equal("2026-03-01T12:01:00Z"))
	g.Expect(over.header.Get("RateLimit-Reason")).NotTo(BeEmpty())
	g.Expect(s.get("/oauth/token/accessible-resources", token).status).To(Equal(200))
	s.Advance(time.Minute)
	g.Expect(s.get(path, token).status).To(Equal(200))
}
