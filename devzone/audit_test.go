// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"

	"github.com/keycardai/keycard-operator/devzone/clock"
)

// events reads the audit log.
func (z *zone) events(query url.Values) []any {
	z.t.Helper()
	return z.must("GET", "/audit-events?"+query.Encode(), nil)["items"].([]any)
}

// named sends a request with what a client says of itself.
func (z *zone) named(req *http.Request, correlation string) reply {
	z.t.Helper()
	req.Header.Set("X-Client-Request-ID", correlation)
	req.Header.Set("User-Agent", "operator/1 (binding a/b)é")
	return z.do(req)
}

// Who did what to what, who decided, and how to find it again.
func TestAuditOfExchanges(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)
	ask := func(user, correlation string) reply {
		form := impersonation(user, confluence)
		form.Set("scope", "read:confluence-content.all")
		req := z.request("POST", z.ZoneURL+"/oauth/2/token", form.Encode())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("reports", "dev-only-reports-password")
		return z.named(req, correlation)
	}
	granted, denied, missing := ask("alice@example.com", "one"), ask("carol@example.com", "two"), ask("bob@example.com", "not one word")
	g.Expect(granted.Status).To(Equal(200))

	found := z.events(url.Values{"correlation_id": {"one"}})
	g.Expect(found).To(HaveLen(1))
	g.Expect(found[0]).To(And(
		HaveKeyWithValue("type", "credentials:issue"), HaveKeyWithValue("outcome", "success"), HaveKeyWithValue("impersonate", true),
		HaveKeyWithValue("request_id", granted.Header.Get("X-Request-Id")), HaveKeyWithValue("user_agent", "operator/1 (binding a/b)?"),
		HaveKeyWithValue("actor", And(HaveKeyWithValue("application", "reports"), HaveKeyWithValue("client_id", "reports"), HaveKeyWithValue("user", "alice@example.com"))),
		HaveKeyWithValue("target", And(HaveKeyWithValue("resource", confluence), HaveKeyWithValue("requested_scopes", ConsistOf("read:confluence-content.all")),
			HaveKeyWithValue("granted_scopes", ContainElement("read:confluence-user")))),
		HaveKeyWithValue("policy", And(HaveKeyWithValue("set", "seed-zone-policies"), HaveKeyWithValue("version", 1.0), HaveKeyWithValue("decision", "allow"),
			HaveKeyWithValue("determining", ConsistOf("default-user-grants", "seed-impersonation")))),
	))
	refused := z.events(url.Values{"request_id": {denied.Body["requestId"].(string)}})
	g.Expect(refused).To(ConsistOf(And(HaveKeyWithValue("outcome", "failure"), HaveKeyWithValue("error", "access_denied"),
		HaveKeyWithValue("description", denied.Body["error_description"]), HaveKeyWithValue("correlation_id", "two"),
		HaveKeyWithValue("policy", HaveKeyWithValue("decision", "deny")))))
	g.Expect(missing.Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	last := z.events(url.Values{"user": {"bob@example.com"}})
	g.Expect(last).To(ConsistOf(And(HaveKeyWithValue("error", "insufficient_authorization"), Not(HaveKey("correlation_id")))))
}

func TestAuditOfChanges(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	provider, resource := z.install(nil)
	z.must("PATCH", "/providers/"+provider, map[string]any{"name": "Atlassian Cloud"})
	g.Expect(z.api("POST", "/resources", map[string]any{"identifier": confluence, "name": "again"}).Status).To(Equal(409))
	g.Expect(z.api("DELETE", "/providers/nope", nil).Status).To(Equal(404))
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	z.must("PUT", "/applications/"+app+"/dependencies/"+resource, nil)
	other := z.must("POST", "/zones", map[string]any{"name": "Other"})["id"].(string)

	var got []string
	for _, e := range z.events(url.Values{"limit": {"50"}}) {
		e := e.(map[string]any)
		g.Expect(e).To(HaveKeyWithValue("actor", HaveKeyWithValue("service_account", "operator")))
		got = append(got, e["type"].(string)+" "+e["outcome"].(string))
	}
	g.Expect(got).To(Equal([]string{
		"dependencies:update success", "providers:delete failure", "resources:create failure", "providers:update success",
		"resources:create success", "providers:create success",
	}))
	g.Expect(z.events(url.Values{"type": {"providers:update"}})).To(ConsistOf(HaveKeyWithValue("target",
		And(HaveKeyWithValue("collection", "providers"), HaveKeyWithValue("id", provider), HaveKeyWithValue("identifier", "https://auth.atlassian.com")))))
	g.Expect(z.events(url.Values{"outcome": {"failure"}, "type": {"resources:create"}})).To(ConsistOf(
		And(HaveKeyWithValue("error", "conflict"), HaveKeyWithValue("description", "resource identifier is already in use"))))
	g.Expect(z.must("GET", "/zones/"+other+"/audit-events", nil)["items"]).To(ConsistOf(HaveKeyWithValue("type", "zones:create")))
}

func TestAuditPages(t *testing.T) {
	g := NewWithT(t)
	c := folder(t)
	now := clock.New()
	c.Clock = now.Now
	z := start(t, c)
	for range 7 {
		now.Advance(time.Minute)
		z.must("POST", "/policies", map[string]any{"name": "x"})
	}
	read := func(z *zone) (ids []string) {
		query := url.Values{"limit": {"3"}}
		for {
			page := z.must("GET", "/audit-events?"+query.Encode(), nil)
			for _, e := range page["items"].([]any) {
				ids = append(ids, e.(map[string]any)["id"].(string))
			}
			after, more := page["pagination"].(map[string]any)["after_cursor"].(string)
			if !more {
				return ids
			}
			query.Set("after", after)
		}
	}
	all := read(z)
	g.Expect(all).To(HaveLen(7))
	between := z.events(url.Values{"since": {"2026-03-01T12:02:00Z"}, "until": {"2026-03-01T12:05:00Z"}})
	g.Expect(between).To(HaveLen(3))
	g.Expect(between[0]).To(HaveKeyWithValue("id", all[3]))
	g.Expect(z.Close()).To(Succeed())
	again := start(t, c)
	again.token = z.token
	g.Expect(read(again)).To(Equal(all), "the log survives a restart")

	for query, want := range map[string]string{
		"since=yesterday": "since: must be a time such as 2026-01-31T12:00:00Z (RFC 3339)", "outcome=maybe": "outcome: must be one of success, failure",
		"limit=0": "limit: must be a number from 1 to 100", "after=x": "after: not a cursor of this list", "before=x": "before: ",
	} {
		got := again.api("GET", "/audit-events?"+query, nil)
		g.Expect(got.Status).To(Equal(400))
		g.Expect(got.Body).To(HaveKeyWithValue("message", HavePrefix(want)))
	}
	// There is no way to change the log.
	for _, method := range []string{"POST", "DELETE", "PATCH", "PUT"} {
		g.Expect(again.api(method, "/audit-events", map[string]any{}).Status).To(Equal(405))
	}
}
