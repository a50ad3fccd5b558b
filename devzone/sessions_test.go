// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestSessions(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	tokens := z.redeem(z.code(c.Now(), nil))
	sid := z.claims(text(tokens, "access_token"))["sid"].(string)
	bob := z.signIn("bob@example.com", c.Now())
	ids := func(query string) (found []any) {
		list := z.must("GET", "/sessions?"+query, nil)
		g.Expect(list).NotTo(HaveKey("page_info"))
		for _, it := range list["items"].([]any) {
			found = append(found, it.(map[string]any)["id"])
		}
		return found
	}
	child := z.must("GET", "/sessions/"+sid, nil)
	alice := child["parent_id"]
	g.Expect(child).To(And(HaveKeyWithValue("session_type", "application"), HaveKeyWithValue("issuer", z.Issuer),
		HaveKeyWithValue("subject", child["user_id"]), HaveKeyWithValue("active", true), HaveKeyWithValue("organization_id", "org-devzone"),
		HaveKeyWithValue("authenticated_at", "2026-03-01T12:00:00Z")))
	g.Expect(z.must("GET", "/sessions/"+bob.ID, nil)).To(And(HaveKeyWithValue("session_type", "user"), HaveKeyWithValue("user_id", bob.UserID),
		HaveKeyWithValue("expires_at", "2026-03-01T20:00:00Z"), Not(HaveKey("parent_id")), Not(HaveKey("application_id"))))

	g.Expect(ids("")).To(Equal([]any{alice, bob.ID}), "nested ones are left out")
	g.Expect(ids("include_nested=true")).To(ConsistOf(alice, bob.ID, sid))
	g.Expect(ids("session_type=application")).To(Equal([]any{sid}))
	g.Expect(ids("session_type=user")).To(HaveLen(2))
	g.Expect(ids("user_id=" + bob.UserID)).To(Equal([]any{bob.ID}))
	g.Expect(ids("status=active&limit=1")).To(Equal([]any{alice}))
	g.Expect(ids("active=true")).To(HaveLen(2))
	g.Expect(ids("status=revoked&include_nested=true")).To(BeEmpty())
	for _, query := range []string{"status=x", "session_type=x", "active=false", "include_nested=no", "active=true&status=revoked", "limit=0"} {
		g.Expect(z.api("GET", "/sessions?"+query, nil).Status).To(Equal(400), query)
	}
	for _, body := range []any{map[string]any{}, map[string]any{"status": "active"}, map[string]any{"status": nil}, []any{}} {
		g.Expect(z.api("PATCH", "/sessions/"+sid, body).Status).To(Equal(400))
	}
	for _, method := range []string{"GET", "DELETE"} {
		g.Expect(z.api(method, "/sessions/nope", nil).Status).To(Equal(404))
	}
	revoked := map[string]any{"status": "revoked"}
	g.Expect(z.api("PATCH", "/sessions/nope", revoked).Status).To(Equal(404))

	g.Expect(z.must("PATCH", "/sessions/"+alice.(string), revoked)).To(And(HaveKeyWithValue("status", "revoked"), HaveKeyWithValue("active", false)))
	g.Expect(z.must("GET", "/sessions/"+sid, nil)).To(HaveKeyWithValue("status", "revoked"), "what belongs to it ends with it")
	g.Expect(z.renew(text(tokens, "refresh_token"))).To(refused("invalid_grant", "revoked"))
	g.Expect(ids("status=revoked&include_nested=true")).To(ConsistOf(alice, sid))
	g.Expect(z.must("PATCH", "/sessions/"+alice.(string), revoked)).To(HaveKeyWithValue("status", "revoked"), "it can be said twice")

	again := z.redeem(z.code(c.Now(), nil))
	parent := z.must("GET", "/sessions/"+z.claims(text(again, "access_token"))["sid"].(string), nil)["parent_id"].(string)
	g.Expect(z.api("DELETE", "/sessions/"+parent, nil).Status).To(Equal(204))
	g.Expect(z.api("GET", "/sessions/"+parent, nil).Status).To(Equal(404))
	g.Expect(z.renew(text(again, "refresh_token"))).To(refused("invalid_grant", "unknown"))
	g.Expect(z.userinfo(text(again, "access_token")).Status).To(Equal(401))
}

func TestBrowserSessionExpiresApartFromItsApplications(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	tokens := z.redeem(z.code(c.Now(), nil))
	c.Advance(9 * time.Hour)
	z.token = z.login("operator", "dev-only-operator-secret")
	g.Expect(z.must("GET", "/sessions?status=expired", nil)["items"]).To(HaveLen(1))
	renewed := z.renew(text(tokens, "refresh_token"))
	g.Expect(renewed.Status).To(Equal(200), renewed.Raw)
}

func TestUserQueries(t *testing.T) {
	g := NewWithT(t)
	z, c := person(t)
	emails := func(query string) (found []any) {
		for _, it := range z.must("GET", "/users?"+query, nil)["items"].([]any) {
			found = append(found, it.(map[string]any)["email"])
		}
		return found
	}
	const alice, bob, carol = "alice@example.com", "bob@example.com", "carol@example.com"
	z.signIn(carol, c.Now())
	c.Advance(time.Second)
	z.signIn(bob, c.Now())
	c.Advance(time.Second)
	z.signIn(carol, c.Now().Add(-time.Hour))
	g.Expect(emails("sort=email")).To(Equal([]any{alice, bob, carol}))
	g.Expect(emails("sort=-email")).To(Equal([]any{carol, bob, alice}))
	g.Expect(emails("sort=-created_at")).To(Equal([]any{carol, bob, alice}))
	g.Expect(emails("sort=authenticated_at")).To(Equal([]any{alice, carol, bob}), "never comes first")
	g.Expect(emails("sort=-authenticated_at")).To(Equal([]any{bob, carol, alice}))
	g.Expect(emails("query[email]=OB@")).To(Equal([]any{bob}))
	g.Expect(emails("query[]=example&query[]=carol")).To(Equal([]any{carol}))
	g.Expect(emails("filter[email]=" + bob + "&filter[email]=Carol@example.com")).To(Equal([]any{bob, carol}))
	row := z.must("GET", "/users?filter[email]="+bob, nil)["items"].([]any)[0].(map[string]any)
	g.Expect(row).To(HaveKeyWithValue("authenticated_at", "2026-03-01T12:00:01Z"))
	g.Expect(z.must("GET", "/users/"+row["id"].(string), nil)).To(Equal(row))
	g.Expect(emails("query[subject]=" + row["subject"].(string))).To(Equal([]any{bob}))

	// Pages follow the order of the list.
	var walked []any
	query := "sort=-authenticated_at&limit=1"
	for range 4 {
		page := z.must("GET", "/users?"+query, nil)
		for _, it := range page["items"].([]any) {
			walked = append(walked, it.(map[string]any)["email"])
		}
		after, more := page["pagination"].(map[string]any)["after_cursor"].(string)
		if !more {
			break
		}
		query = "sort=-authenticated_at&limit=1&after=" + after
	}
	g.Expect(walked).To(Equal([]any{bob, carol, alice}))
	last := z.must("GET", "/users?sort=-authenticated_at&limit=2", nil)["pagination"].(map[string]any)["after_cursor"].(string)
	g.Expect(emails("sort=-authenticated_at&limit=5&before=" + last)).To(Equal([]any{bob}))
}

func TestCredentialKinds(t *testing.T) {
	g := NewWithT(t)
	z, _ := person(t)
	app := z.app()
	create := func(fields map[string]any) reply {
		return z.api("POST", "/application-credentials", with(fields, "application_id", app))
	}
	keyed := create(map[string]any{"type": "public-key", "jwks_uri": "https://k.example.com/jwks", "identifier": "k"})
	g.Expect(keyed.Status).To(Equal(200), keyed.Raw)
	g.Expect(keyed.Body).To(And(HaveKeyWithValue("type", "public-key"), HaveKeyWithValue("identifier", "k"),
		HaveKeyWithValue("jwks_uri", "https://k.example.com/jwks"), Not(HaveKey("password"))))
	g.Expect(create(map[string]any{"type": "public-key", "jwks_uri": "https://k.example.com/jwks"}).Body["identifier"]).To(HaveLen(26))
	public := create(map[string]any{"type": "public"})
	g.Expect(public.Body).To(And(HaveKeyWithValue("identifier", HaveLen(26)), Not(HaveKey("password"))))
	linked := create(map[string]any{"type": "url", "identifier": "https://c.example.com/client.json"})
	g.Expect(linked.Body).To(HaveKeyWithValue("identifier", "https://c.example.com/client.json"))

	for name, fields := range map[string]map[string]any{
		"no jwks_uri":    {"type": "public-key"},
		"bad jwks_uri":   {"type": "public-key", "jwks_uri": "file:///x"},
		"null jwks_uri":  {"type": "public-key", "jwks_uri": nil},
		"url without":    {"type": "url"},
		"url of nothing": {"type": "url", "identifier": "client"},
		"identifier":     {"type": "public", "identifier": 7},
		"other type":     {"type": "magic"},
		"no type":        {},
	} {
		got := create(fields)
		g.Expect(got.Status).To(Equal(400), name+": "+got.Raw)
	}
	g.Expect(create(map[string]any{"type": "public", "identifier": "k"}).Status).To(Equal(409), "a client_id is unique")

	path := "/application-credentials/" + linked.Body["id"].(string)
	g.Expect(z.must("PATCH", path, map[string]any{"identifier": "https://c.example.com/2.json"})).To(HaveKeyWithValue("identifier", "https://c.example.com/2.json"))
	g.Expect(z.api("PATCH", path, map[string]any{"identifier": "nope"}).Status).To(Equal(400))
	g.Expect(z.api("PATCH", path, map[string]any{"type": "public"}).Status).To(Equal(400), "the type stays")
	g.Expect(z.must("PATCH", path, map[string]any{"type": "url"})).To(HaveKeyWithValue("type", "url"))
	path = "/application-credentials/" + keyed.Body["id"].(string)
	g.Expect(z.api("PATCH", path, map[string]any{"jwks_uri": "https://x", "identifier": "x"}).Status).To(Equal(400), "an update has no such fields")
	g.Expect(z.must("GET", path, nil)).To(And(
		HaveKeyWithValue("identifier", "k"), HaveKeyWithValue("jwks_uri", "https://k.example.com/jwks")))
}
