// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

func TestImpersonationEndToEnd(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	z.install(nil)

	got := z.impersonate("alice@example.com")
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(got.Body).To(And(
		HaveKeyWithValue("token_type", "Bearer"),
		HaveKeyWithValue("expires_in", BeNumerically("~", 3600, 5)),
		HaveKeyWithValue("issued_token_type", accessToken),
		HaveKeyWithValue("scope", ContainSubstring("read:confluence-content.all"))))
	g.Expect(got.Header.Get("Cache-Control")).To(Equal("no-store"))

	token := got.Body["access_token"].(string)
	sites := z.atlassianGet("/oauth/token/accessible-resources", token)
	g.Expect(sites.Raw).To(ContainSubstring("https://acme.atlassian.net"))
	pages := z.atlassianGet("/ex/confluence/11111111-2222-4333-8444-555555555555/wiki/api/v2/pages", token)
	g.Expect(pages.Body["results"]).To(HaveLen(25), pages.Raw)
}
