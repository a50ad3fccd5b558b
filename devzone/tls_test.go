// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

// With a TLS folder every surface speaks https, to those who trust its CA: a
// client and the zone itself, which calls the stand-in.
func TestTLS(t *testing.T) {
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "tls")
	running, err := devzone.Start(t.Context(), devzone.Config{TLSDir: dir})
	g.Expect(err).NotTo(HaveOccurred())
	defer running.Close()
	g.Expect(running.Issuer).To(HavePrefix("https://127.0.0.1:"))
	for _, u := range []string{running.ZoneURL, running.APIURL, running.AtlassianURL} {
		g.Expect(u).To(HavePrefix("https://"))
		_, err := http.Get(u + "/healthz")
		g.Expect(err).To(MatchError(ContainSubstring("certificate signed by unknown authority")))
	}
	pool := x509.NewCertPool()
	g.Expect(pool.AppendCertsFromPEM(running.CA)).To(BeTrue())
	z := &zone{Running: running, t: t, transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	z.token = z.login("operator", "dev-only-operator-secret")
	z.install(nil)
	got := z.impersonate("alice@example.com")
	g.Expect(got.Status).To(Equal(200), got.Raw)
	g.Expect(z.atlassianGet("/oauth/token/accessible-resources", got.Body["access_token"].(string)).Status).To(Equal(200))

	_, err = devzone.Start(t.Context(), devzone.Config{TLSDir: "/dev/null/x"})
	g.Expect(err).To(MatchError(devzone.ErrInvalidConfig))
}
