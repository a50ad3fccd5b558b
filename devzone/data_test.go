// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// folder is a configuration with a data folder and an issuer that does not
// depend on the port.
func folder(t *testing.T) devzone.Config {
	t.Helper()
	return devzone.Config{
		DataDir: filepath.Join(t.TempDir(), "data"), DataKey: bytes.Repeat([]byte{9}, disk.KeySize),
		Issuer: "http://zone.localhost:1",
	}
}

// After a restart on the same folder nobody notices: bearer tokens, upstream
// tokens, the zone's own tokens and grants go on, and what the seed says is not
// done again.
func TestRestartOnTheSameFolder(t *testing.T) {
	g := NewWithT(t)
	c := folder(t)
	z := start(t, c)
	z.install(nil)
	z.own("urn:api", true, nil)
	upstream := z.impersonate("alice@example.com").Body["access_token"].(string)
	own := z.exchange(url.Values{"grant_type": {"client_credentials"}, "resource": {"urn:api"}}).Body["access_token"].(string)
	before := z.must("GET", "/resources", nil)
	grant := z.grant()
	g.Expect(z.Close()).To(Succeed())

	var log lockedBuffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c.Seed = seed.Default()
	c.Seed.Users = nil
	c.Seed.Applications = nil
	again := start(t, c)
	g.Expect(log.String()).To(ContainSubstring("the seed was applied when it was new"))
	again.token = z.token
	g.Expect(again.must("GET", "/resources", nil)).To(Equal(before))
	g.Expect(again.grant()).To(Equal(grant))
	g.Expect(again.atlassianGet("/oauth/token/accessible-resources", upstream).Status).To(Equal(200))
	g.Expect(again.claims(own)).To(HaveKeyWithValue("sub", "reports"), "the signing key is the same")
	got := again.impersonate("alice@example.com")
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(got.Body["access_token"]).NotTo(Equal(upstream))
	g.Expect(again.Atlassian.Disconnect("alice@example.com", "atlassian-app")).To(Succeed())
	g.Expect(again.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	g.Expect(again.Close()).To(Succeed())

	third := start(t, c)
	g.Expect(third.impersonate("alice@example.com").Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	g.Expect(third.atlassianGet("/oauth/token/accessible-resources", upstream).Status).To(Equal(401))
}

func TestFolderRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(c *devzone.Config)
		want   string
	}{
		"another issuer": {
			func(c *devzone.Config) { c.Issuer = "http://other.localhost:1" },
			"belongs to the issuer http://zone.localhost:1, and this one would be http://other.localhost:1: " +
				"start with the same address or issuer, or with another folder",
		},
		"another key": {func(c *devzone.Config) { c.DataKey = bytes.Repeat([]byte{1}, disk.KeySize) }, "the key is not the one"},
		"no key":      {func(c *devzone.Config) { c.DataKey = nil }, "the key has 0 bytes, must be 32"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			c := folder(t)
			g.Expect(start(t, c).Close()).To(Succeed())
			tt.change(&c)
			_, err := devzone.Start(t.Context(), c)
			g.Expect(err).To(MatchError(devzone.ErrInvalidConfig))
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

// Nothing that is secret is readable in the folder.
func TestFolderIsEncrypted(t *testing.T) {
	g := NewWithT(t)
	c := folder(t)
	z := start(t, c)
	z.install(nil)
	token := z.impersonate("alice@example.com").Body["access_token"].(string)
	g.Expect(z.Close()).To(Succeed())
	files, err := filepath.Glob(filepath.Join(c.DataDir, "*"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(files).NotTo(BeEmpty())
	for _, f := range files {
		raw, err := os.ReadFile(f)
		g.Expect(err).NotTo(HaveOccurred())
		for _, secret := range []string{"dev-only-", token, "alice@example.com"} {
			g.Expect(bytes.Contains(raw, []byte(secret))).To(BeFalse(), "%s holds %s", f, secret)
		}
	}
}
