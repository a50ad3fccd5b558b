// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
)

func TestAuthorizePage(t *testing.T) {
	g := NewWithT(t)
	s := start(t, atlassian.Config{})
	page := s.get(authorizeQuery(nil), "")
	g.Expect(page.status).To(Equal(200))
	g.Expect(page.header.Get("Content-Type")).To(HavePrefix("text/html"))
	g.Expect(page.header.Get("Content-Security-Policy")).To(ContainSubstring("frame-ancestors 'none'"))
	g.Expect(page.header.Get("Cache-Control")).To(Equal("no-store"))
	for _, part := range []string{`<html lang="en">`, "<title>Authorize App</title>", "<legend>Account to continue with</legend>", ann, ben} {
		g.Expect(page.raw).To(ContainSubstring(part))
	}
	g.Expect(page.raw).NotTo(ContainSubstring("atlassian.net"), "sites are an account's")
	style := s.get("/authorize.css", "")
	g.Expect(style.status).To(Equal(200))
	g.Expect(style.header.Get("Content-Type")).To(HavePrefix("text/css"))
}

// A person chooses her account first and then among her own sites.
func TestAuthorizeAccount(t *testing.T) {
	s := start(t, atlassian.Config{})
	tests := map[string]struct {
		form   url.Values
		status int
		// want and not are texts of the page.
		want, not []string
	}{
		"continue":          {url.Values{"decision": {"continue"}, "account": {ann}}, 200, []string{"You continue as <strong>Ann", "https://a.atlassian.net", "https://b.atlassian.net", "<code>read:page:confluence</code>"}, []string{"checked", "role=\"alert\""}},
		"with one site":     {url.Values{"decision": {"continue"}, "account": {ben}}, 200, []string{"https://a.atlassian.net", "checked"}, []string{"https://b.atlassian.net"}},
		"with no site":      {url.Values{"decision": {"continue"}, "account": {eve}}, 200, []string{"This account is on no site."}, []string{"checkbox"}},
		"without account":   {url.Values{"decision": {"continue"}}, 422, []string{"Choose the account to continue with.", `href="#choice"`, ann}, nil},
		"unknown account":   {url.Values{"decision": {"continue"}, "account": {"x"}}, 422, []string{"Choose the account to continue with."}, nil},
		"another account":   {url.Values{"decision": {"switch"}, "account": {ann}}, 200, []string{"Account to continue with"}, []string{"You continue as"}},
		"no site of two":    {url.Values{"decision": {"approve"}, "account": {ann}}, 422, []string{"You continue as <strong>Ann", "Choose at least one site."}, nil},
		"no site to choose": {url.Values{"decision": {"approve"}, "account": {eve}}, 302, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			tt.form.Set("transaction", s.open(nil))
			got := s.submit(tt.form)
			g.Expect(got.status).To(Equal(tt.status), got.raw)
			for _, text := range tt.want {
				g.Expect(got.raw).To(ContainSubstring(text))
			}
			for _, text := range tt.not {
				g.Expect(got.raw).NotTo(ContainSubstring(text))
			}
		})
	}
	t.Run("login_hint", func(t *testing.T) {
		got := s.get(authorizeQuery(url.Values{"login_hint": {ben}}), "")
		NewWithT(t).Expect(got.raw).To(ContainSubstring("You continue as <strong>Ben"))
	})
	t.Run("unknown login_hint", func(t *testing.T) {
		got := s.get(authorizeQuery(url.Values{"login_hint": {"x@example.com"}}), "")
		NewWithT(t).Expect(got.raw).To(ContainSubstring("Account to continue with"))
	})
}

func TestAuthorizeRefusals(t *testing.T) {
	s := start(t, atlassian.Config{})
	none := []string(nil)
	tests := map[string]struct {
		change url.Values
		// page is the text of an error page, code that of a redirect.
		page, code string
	}{
		"unknown client":   {change: url.Values{"client_id": {"nope"}}, page: "unauthorized_client: unknown client_id"},
		"no client":        {change: url.Values{"client_id": none}, page: "unauthorized_client"},
		"callback":         {change: url.Values{"redirect_uri": {callback + "/x"}}, page: "Callback URL mismatch"},
		"no callback":      {change: url.Values{"redirect_uri": none}, page: "Callback URL mismatch"},
		"response type":    {change: url.Values{"response_type": {"token"}}, code: "unsupported_response_type"},
		"no audience":      {change: url.Values{"audience": none}, code: "invalid_request"},
		"prompt":           {change: url.Values{"prompt": {"login"}}, code: "invalid_request"},
		"no state":         {change: url.Values{"state": none}, code: "invalid_request"},
		"no scope":         {change: url.Values{"scope": none}, code: "invalid_scope"},
		"scope not of app": {change: url.Values{"scope": {"read:page:confluence write:page:confluence"}}, code: "invalid_scope"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := s.get(authorizeQuery(tt.change), "")
			if tt.page != "" {
				g.Expect(got.status).To(Equal(400))
				g.Expect(got.header.Get("Location")).To(BeEmpty())
				g.Expect(got.raw).To(ContainSubstring(tt.page))
				return
			}
			g.Expect(got.status).To(Equal(302))
			g.Expect(got.header.Get("Location")).To(And(HavePrefix(callback+"?"), ContainSubstring("error="+tt.code)))
		})
	}
}

func TestAuthorizeDecision(t *testing.T) {
	s := start(t, atlassian.Config{})
	tests := map[string]struct {
		form url.Values
		want string
	}{
		"no decision":      {url.Values{"account": {ann}, "site": {cloudA}}, "Choose Accept or Cancel"},
		"no account":       {url.Values{"decision": {"approve"}, "site": {cloudA}}, "Choose the account"},
		"unknown account":  {url.Values{"decision": {"approve"}, "account": {"x"}, "site": {cloudA}}, "Choose the account"},
		"no site":          {url.Values{"decision": {"approve"}, "account": {ann}}, "Choose at least one site"},
		"unknown site":     {url.Values{"decision": {"approve"}, "account": {ann}, "site": {"x"}}, "no access"},
		"site of somebody": {url.Values{"decision": {"approve"}, "account": {ben}, "site": {cloudA, cloudB}}, "Ben has no access"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			id := s.open(nil)
			tt.form.Set("transaction", id)
			got := s.submit(tt.form)
			g.Expect(got.status).To(Equal(422))
			g.Expect(got.raw).To(And(ContainSubstring(tt.want), ContainSubstring(`role="alert"`)))
			retry := s.submit(url.Values{"transaction": {id}, "account": {ann}, "site": {cloudA}, "decision": {"approve"}})
			g.Expect(retry.status).To(Equal(302), "the page can be corrected")
		})
	}
	t.Run("deny", func(t *testing.T) {
		got := s.submit(url.Values{"transaction": {s.open(nil)}, "decision": {"deny"}})
		NewWithT(t).Expect(got.header.Get("Location")).To(And(HavePrefix(callback), ContainSubstring("error=access_denied"),
			ContainSubstring("state=st"), Not(ContainSubstring("code="))))
	})
	t.Run("used twice", func(t *testing.T) {
		form := url.Values{"transaction": {s.open(nil)}, "decision": {"deny"}}
		s.submit(form)
		NewWithT(t).Expect(s.submit(form).status).To(Equal(400))
	})
	t.Run("stale", func(t *testing.T) {
		id := s.open(nil)
		s.Advance(10 * time.Minute)
		NewWithT(t).Expect(s.submit(url.Values{"transaction": {id}, "decision": {"deny"}}).status).To(Equal(400))
	})
	t.Run("callback with a query", func(t *testing.T) {
		id := s.open(url.Values{"client_id": {"other"}, "redirect_uri": {"https://other.example.com/cb?fixed=1"}, "scope": {"read:page:confluence"}})
		got := s.submit(url.Values{"transaction": {id}, "account": {ann}, "site": {cloudA}, "decision": {"approve"}})
		NewWithT(t).Expect(got.header.Get("Location")).To(And(HavePrefix("https://other.example.com/cb?"), ContainSubstring("fixed=1")))
	})
	t.Run("oversized", func(t *testing.T) {
		NewWithT(t).Expect(s.submit(url.Values{"x": {strings.Repeat("x", 65<<10)}}).status).To(Equal(400))
	})
}
