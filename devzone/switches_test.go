// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/clock"
)

func TestUpstreamTokenSwitch(t *testing.T) {
	tests := map[string]struct {
		mode broker.Mode
		same bool
	}{
		"refresh": {mode: broker.Refresh},
		"cached":  {mode: broker.Cached, same: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			c := clock.New()
			z := start(t, devzone.Config{Clock: c.Now, UpstreamTokens: tt.mode, UpstreamTokenLifetime: 100 * time.Second, MinRemaining: 20 * time.Second})
			z.install(nil)
			first := z.impersonate("alice@example.com").Body
			g.Expect(first).To(HaveKeyWithValue("expires_in", BeNumerically("==", 100)))
			c.Advance(30 * time.Second)
			second := z.impersonate("alice@example.com").Body
			g.Expect(second["access_token"] == first["access_token"]).To(Equal(tt.same))
			left := 100.0
			if tt.same {
				left = 70
			}
			g.Expect(second["expires_in"]).To(Equal(left))
			c.Advance(50 * time.Second)
			third := z.impersonate("alice@example.com").Body
			g.Expect(third["access_token"]).NotTo(Equal(second["access_token"]), "20 seconds are not enough left")
			g.Expect(third["expires_in"]).To(Equal(100.0))
		})
	}
}

func TestAtlassianRefreshSwitch(t *testing.T) {
	const path = "/oauth/token/accessible-resources"
	for mode, status := range map[devzone.RefreshMode]int{devzone.Overlap: 200, devzone.Invalidate: 401} {
		t.Run(string(mode), func(t *testing.T) {
			g := NewWithT(t)
			c := clock.New()
			z := start(t, devzone.Config{Clock: c.Now, AtlassianRefresh: mode, UpstreamTokenLifetime: time.Minute})
			z.install(nil)
			first := z.impersonate("alice@example.com").Body["access_token"].(string)
			g.Expect(z.atlassianGet(path, first).Status).To(Equal(200))
			second := z.impersonate("alice@example.com").Body["access_token"].(string)
			g.Expect(z.atlassianGet(path, second).Status).To(Equal(200))
			g.Expect(z.atlassianGet(path, first).Status).To(Equal(status))
			c.Advance(time.Minute)
			g.Expect(z.atlassianGet(path, second).Status).To(Equal(401), "expired")
		})
	}
}

func TestOmitExpiresIn(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{OmitExpiresIn: true})
	z.install(nil)
	z.own("https://own.example.com", false, nil)
	g.Expect(z.impersonate("alice@example.com").Body).To(And(HaveKey("access_token"), Not(HaveKey("expires_in"))))
	g.Expect(z.exchange(url.Values{"grant_type": {clientCredentials}, "resource": {"https://own.example.com"}}).Body).To(
		And(HaveKey("access_token"), Not(HaveKey("expires_in"))))
}

func TestNoOfflineAccess(t *testing.T) {
	g := NewWithT(t)
	c := clock.New()
	z := start(t, devzone.Config{Clock: c.Now})
	z.install(func(_, r map[string]any) { r["scopes"] = []string{"read:confluence-content.all"} })
	first := z.impersonate("alice@example.com").Body
	g.Expect(z.grant()).To(And(HaveKeyWithValue("refresh_token_set", false), HaveKeyWithValue("expires_at", "2026-03-01T13:00:00Z")))
	c.Advance(30 * time.Minute)
	second := z.impersonate("alice@example.com").Body
	g.Expect(second).To(And(HaveKeyWithValue("access_token", first["access_token"]), HaveKeyWithValue("expires_in", 1800.0)))
	c.Advance(30 * time.Minute)
	g.Expect(z.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	z.token = z.login("operator", "dev-only-operator-secret")
	g.Expect(z.grant()).To(HaveKeyWithValue("status", "expired"))
}

func TestLogsHoldNoSecrets(t *testing.T) {
	g := NewWithT(t)
	var log lockedBuffer
	var u upstream
	z := start(t, devzone.Config{
		AtlassianMiddleware: u.middleware,
		Logger:              slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	provider, _ := z.install(nil)
	token := z.impersonate("alice@example.com").Body["access_token"].(string)
	z.own("https://mine.example.com", true, nil)
	jwt := z.exchange(impersonation("alice@example.com", "https://mine.example.com")).Body["access_token"].(string)
	z.impersonate("bob@example.com")
	z.must("PATCH", "/providers/"+provider, map[string]any{"client_secret": "another-upstream-secret"})
	z.impersonate("alice@example.com")

	events, err := json.Marshal(z.must("GET", "/audit-events", nil))
	g.Expect(err).NotTo(HaveOccurred())
	text := log.String() + string(events)
	g.Expect(text).To(And(ContainSubstring(`"type":"credentials:issue","outcome":"success"`), ContainSubstring(`"type":"credentials:issue","outcome":"failure"`),
		ContainSubstring(`"user":"alice@example.com"`), ContainSubstring("insufficient_authorization"), ContainSubstring(`"path":"/authorize"`)))
	for _, secret := range []string{token, jwt, z.token, "dev-only-", "another-upstream-secret", "code=", "state="} {
		g.Expect(strings.Contains(text, secret)).To(BeFalse(), fmt.Sprintf("the log holds %.12s…", secret))
	}
	u.refreshTokens.Range(func(body, _ any) bool {
		_, after, _ := strings.Cut(body.(string), `"refresh_token":"`)
		value, _, _ := strings.Cut(after, `"`)
		return g.Expect(value != "" && strings.Contains(text, value)).To(BeFalse())
	})
}
