// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package localtls_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/localtls"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string, now time.Time, names ...string) *localtls.Authority {
	t.Helper()
	a, err := localtls.Open(dir, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// leaf is the server's certificate, checked for a name by a client that trusts
// the authority and nothing else.
func leaf(t *testing.T, a *localtls.Authority, name string, now time.Time) (*x509.Certificate, error) {
	t.Helper()
	cert := a.ServerConfig().Certificates[0].Leaf
	pool := x509.NewCertPool()
	a.AddTo(pool)
	_, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: now})
	return cert, err
}

func TestCertificate(t *testing.T) {
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "tls")
	a := open(t, dir, start, "zone.test", "10.1.2.3")
	for _, name := range []string{"localhost", "zn-demo.localhost", "127.0.0.1", "::1", "zone.test", "10.1.2.3"} {
		_, err := leaf(t, a, name, start)
		g.Expect(err).NotTo(HaveOccurred(), name)
	}
	_, err := leaf(t, a, "example.com", start)
	g.Expect(err).To(HaveOccurred())
	g.Expect(string(a.PEM())).To(HavePrefix("-----BEGIN CERTIFICATE-----"))
	for file, mode := range map[string]os.FileMode{"ca.crt": 0o644, "ca.key": 0o600, "tls.crt": 0o644, "tls.key": 0o600} {
		info, err := os.Stat(filepath.Join(dir, file))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(info.Mode().Perm()).To(Equal(mode), file)
	}
	g.Expect(filepath.Glob(filepath.Join(dir, ".new-*"))).To(BeEmpty())
}

// The authority stays for good, the certificate while it will do.
func TestKeptAndRenewed(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	first := open(t, dir, start, "zone.test")
	was, _ := leaf(t, first, "zone.test", start)
	for name, tt := range map[string]struct {
		now     time.Time
		names   []string
		renewed bool
	}{
		"the same":       {start.Add(time.Hour), []string{"zone.test"}, false},
		"fewer names":    {start.Add(time.Hour), nil, false},
		"nearly over":    {start.Add(61 * 24 * time.Hour), []string{"zone.test"}, true},
		"another name":   {start.Add(time.Hour), []string{"other.test"}, true},
		"another number": {start.Add(time.Hour), []string{"10.0.0.9"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			copied := t.TempDir()
			g.Expect(os.CopyFS(copied, os.DirFS(dir))).To(Succeed())
			a := open(t, copied, tt.now, tt.names...)
			g.Expect(a.PEM()).To(Equal(first.PEM()))
			is, err := leaf(t, a, "localhost", tt.now)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(is.Equal(was)).To(Equal(!tt.renewed))
		})
	}
	g.Expect(os.Remove(filepath.Join(dir, "tls.key"))).To(Succeed())
	_, err := leaf(t, open(t, dir, start), "localhost", start)
	g.Expect(err).NotTo(HaveOccurred(), "a lost certificate is made anew")
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		now   time.Time
		want  string
	}{
		"no certificate": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) }, start, "ca.crt holds no certificate; remove "},
		"no key":         {func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, start, "ca.key: no such file or directory; remove "},
		"broken key":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), []byte("x"), 0o600) }, start, "ca.key holds no key; remove "},
		"another's key":  {func(dir string) error { return os.Rename(filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.key")) }, start, "ca.key is not the key of "},
		"not an authority": {func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "ca.crt")), os.Rename(filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.key")))
		}, start, "ca.crt is no authority or has expired; remove "},
		"expired": {func(string) error { return nil }, start.Add(11 * 365 * 24 * time.Hour), "ca.crt is no authority or has expired; remove "},
		"a file": {func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		}, start, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dir := t.TempDir()
			open(t, dir, start)
			g.Expect(tt.spoil(dir)).To(Succeed())
			_, err := localtls.Open(dir, nil, tt.now)
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(err).To(MatchError(ContainSubstring(dir)))
		})
	}
}
