// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
)

func TestTokenEndpoint(t *testing.T) {
	s := start(t, atlassian.Config{})
	t.Run("code", func(t *testing.T) {
		g := NewWithT(t)
		got := s.redeem(s.code(ann, nil, cloudA))
		g.Expect(got.status).To(Equal(200))
		g.Expect(got.header.Get("Cache-Control")).To(Equal("no-store"))
		g.Expect(got.body).To(And(HaveKey("access_token"), HaveKey("refresh_token"), HaveKeyWithValue("token_type", "Bearer"),
			HaveKeyWithValue("expires_in", 3600.0), HaveKeyWithValue("scope", allScope)))
	})
	t.Run("without offline_access", func(t *testing.T) {
		got := s.redeem(s.code(ann, url.Values{"scope": {"read:page:confluence"}}, cloudA))
		NewWithT(t).Expect(got.body).To(And(HaveKey("access_token"), Not(HaveKey("refresh_token"))))
	})
	t.Run("form encoding", func(t *testing.T) {
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {"app"}, "client_secret": {"app-secret"},
			"redirect_uri": {callback}, "code": {s.code(ann, nil, cloudA)},
		}
		NewWithT(t).Expect(s.do("POST", "/oauth/token", "application/x-www-form-urlencoded", form.Encode(), "").status).To(Equal(200))
	})
	t.Run("code used twice", func(t *testing.T) {
		code := s.code(ann, nil, cloudA)
		s.redeem(code)
		got := s.redeem(code)
		NewWithT(t).Expect(got.status).To(Equal(403))
		NewWithT(t).Expect(got.body).To(And(HaveKeyWithValue("error", "invalid_grant"), HaveKeyWithValue("error_description", "Invalid authorization code")))
	})
	t.Run("code expired", func(t *testing.T) {
		code := s.code(ann, nil, cloudA)
		s.Advance(5 * time.Minute)
		NewWithT(t).Expect(s.redeem(code).status).To(Equal(403))
	})

	tests := map[string]struct {
		fields map[string]string
		status int
		code   string
	}{
		"redirect mismatch": {map[string]string{"grant_type": "authorization_code", "code": "valid", "redirect_uri": callback + "x"}, 403, "invalid_grant"},
		"code of another":   {map[string]string{"grant_type": "authorization_code", "code": "valid", "client_id": "other", "client_secret": "other-secret"}, 403, "invalid_grant"},
		"unknown code":      {map[string]string{"grant_type": "authorization_code", "code": "nope"}, 403, "invalid_grant"},
		"unknown refresh":   {map[string]string{"grant_type": "refresh_token", "refresh_token": "nope.nope"}, 403, "invalid_grant"},
		"no refresh":        {map[string]string{"grant_type": "refresh_token"}, 403, "invalid_grant"},
		"wrong secret":      {map[string]string{"grant_type": "refresh_token", "client_secret": "no"}, 401, "access_denied"},
		"unknown client":    {map[string]string{"grant_type": "refresh_token", "client_id": "no"}, 401, "access_denied"},
		"empty client":      {map[string]string{"grant_type": "refresh_token", "client_id": "", "client_secret": ""}, 401, "access_denied"},
		"grant type":        {map[string]string{"grant_type": "password"}, 400, "unsupported_grant_type"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tt.fields["code"] == "valid" {
				tt.fields["code"] = s.code(ann, nil, cloudA)
			}
			got := s.token(tt.fields)
			g.Expect(got.status).To(Equal(tt.status), got.raw)
			g.Expect(got.body).To(And(HaveKeyWithValue("error", tt.code), HaveKey("error_description")))
		})
	}
	for name, tt := range map[string][2]string{
		"not json":     {"application/json", "{"},
		"json numbers": {"application/json", `{"code":1}`},
		"bad form":     {"application/x-www-form-urlencoded", "a=%zz"},
		"text":         {"text/plain", "x"},
		"oversized":    {"application/json", `{"code":"` + strings.Repeat("x", 65<<10) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do("POST", "/oauth/token", tt[0], tt[1], "")
			NewWithT(t).Expect(got.status).To(Equal(400))
			NewWithT(t).Expect(got.body).To(HaveKeyWithValue("error", "invalid_request"))
		})
	}
}

func TestRefreshRotation(t *testing.T) {
	const leeway = 10 * time.Minute
	t.Run("each refresh gives a new token", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		_, token := s.login(ann, cloudA)
		for range 5 {
			got := s.refresh(token)
			g.Expect(got.status).To(Equal(200), got.raw)
			g.Expect(got.body["refresh_token"]).NotTo(Equal(token))
			token = got.body["refresh_token"].(string)
			s.Advance(time.Hour)
		}
	})
	t.Run("reuse within the leeway works", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		_, first := s.login(ann, cloudA)
		second := s.refresh(first).body["refresh_token"].(string)
		s.Advance(leeway)
		g.Expect(s.refresh(first).status).To(Equal(200))
		g.Expect(s.refresh(second).status).To(Equal(200), "the newer line is within its leeway too")
	})
}

func TestRefreshTokenReuse(t *testing.T) {
	tests := map[string]struct{ leeway, after time.Duration }{
		"beyond the leeway":     {0, 10*time.Minute + time.Nanosecond},
		"without a leeway":      {-1, 0},
		"beyond its own leeway": {time.Second, time.Second + time.Nanosecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := start(t, atlassian.Config{RefreshLeeway: tt.leeway})
			access, first := s.login(ann, cloudA)
			second := s.refresh(first).body["refresh_token"].(string)
			s.Advance(tt.after)
			got := s.refresh(first)
			g.Expect(got.status).To(Equal(403))
			g.Expect(got.body).To(And(HaveKeyWithValue("error", "invalid_grant"), HaveKeyWithValue("error_description", "Unknown or invalid refresh token.")))
			g.Expect(s.refresh(second).status).To(Equal(403), "the newest token died too")
			g.Expect(s.get("/oauth/token/accessible-resources", access).status).To(Equal(200), "access tokens live out")
		})
	}
}

func TestRefreshChains(t *testing.T) {
	t.Run("a token of the distant past ends the chain", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		_, first := s.login(ann, cloudA)
		token := first
		for range 20 {
			token = s.refresh(token).body["refresh_token"].(string)
			s.Advance(time.Hour)
		}
		g.Expect(s.refresh(first).status).To(Equal(403))
		g.Expect(s.refresh(token).status).To(Equal(403))
	})
	t.Run("other people's chains are untouched", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{RefreshLeeway: -1})
		_, annToken := s.login(ann, cloudA)
		_, benToken := s.login(ben, cloudA)
		s.refresh(annToken)
		g.Expect(s.refresh(annToken).status).To(Equal(403))
		g.Expect(s.refresh(benToken).status).To(Equal(200))
	})
}

func TestRefreshTokenRefusals(t *testing.T) {
	t.Run("another client cannot use it", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		_, token := s.login(ann, cloudA)
		got := s.token(map[string]string{"grant_type": "refresh_token", "refresh_token": token, "client_id": "other", "client_secret": "other-secret"})
		g.Expect(got.status).To(Equal(403))
		g.Expect(s.refresh(token).status).To(Equal(200))
	})
	t.Run("unused for 90 days", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		_, token := s.login(ann, cloudA)
		s.Advance(90*24*time.Hour - time.Second)
		token = s.refresh(token).body["refresh_token"].(string)
		s.Advance(90 * 24 * time.Hour)
		g.Expect(s.refresh(token).status).To(Equal(403))
	})
	t.Run("disconnected", func(t *testing.T) {
		g := NewWithT(t)
		s := start(t, atlassian.Config{})
		access, token := s.login(ann, cloudA)
		g.Expect(s.Disconnect(ann, "other")).To(Succeed())
		g.Expect(s.Disconnect(ben, "app")).To(Succeed())
		g.Expect(s.get("/oauth/token/accessible-resources", access).status).To(Equal(200))
		g.Expect(s.Disconnect(ann, "app")).To(Succeed())
		g.Expect(s.get("/oauth/token/accessible-resources", access).status).To(Equal(401))
		g.Expect(s.refresh(token).status).To(Equal(403))
	})
}

func TestPreviousAccessToken(t *testing.T) {
	for invalidate, want := range map[bool]int{false: 200, true: 401} {
		t.Run(fmt.Sprintf("invalidate %t", invalidate), func(t *testing.T) {
			g := NewWithT(t)
			s := start(t, atlassian.Config{InvalidateOnRefresh: invalidate, TokenLifetime: time.Minute})
			first, refresh := s.login(ann, cloudA)
			got := s.refresh(refresh)
			g.Expect(got.body["expires_in"]).To(Equal(60.0))
			g.Expect(s.get("/oauth/token/accessible-resources", first).status).To(Equal(want))
			second := got.body["access_token"].(string)
			g.Expect(s.get("/oauth/token/accessible-resources", second).status).To(Equal(200))
			s.Advance(time.Minute)
			g.Expect(s.get("/oauth/token/accessible-resources", second).status).To(Equal(401))
		})
	}
}
