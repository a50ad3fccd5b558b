// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package issuer_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/issuer"
)

func TestMap(t *testing.T) {
	tests := map[string]struct{ issuer, def, other string }{
		"hosted":         {"https://zn.keycard.cloud", "https://zn.keycard.cloud", "https://x.keycard.cloud"},
		"trailing slash": {"https://zn.keycard.cloud/", "https://zn.keycard.cloud", "https://x.keycard.cloud"},
		"loopback":       {"http://127.0.0.1:8090", "http://127.0.0.1:8090", "http://x.localhost:8090"},
		"ipv6":           {"http://[::1]:8090", "http://[::1]:8090", "http://x.localhost:8090"},
		"ip no port":     {"http://127.0.0.1", "http://127.0.0.1", "http://x.localhost"},
		"name":           {"http://zone.test:1", "http://zone.test:1", "http://x.zone.test:1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			m, err := issuer.NewMap("zn", tt.issuer)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(m.Of("zn")).To(Equal(tt.def))
			g.Expect(m.Of("x")).To(Equal(tt.other))
		})
	}
	for _, bad := range []string{"", "zn", "ftp://x", "https://", "https://u@x", "https://x/path", "https://x?q", "https://x#f", "https://x/%zz", "::"} {
		_, err := issuer.NewMap("zn", bad)
		NewWithT(t).Expect(err).To(HaveOccurred(), bad)
	}
}

func TestZone(t *testing.T) {
	g := NewWithT(t)
	m, err := issuer.NewMap("zn", "http://127.0.0.1:8090")
	g.Expect(err).NotTo(HaveOccurred())
	exists := func(id string) bool { return id == "x" || id == "zn" }
	for host, want := range map[string]string{
		"x.localhost:8090": "x",
		"X.localhost":      "x",
		"x.any.thing":      "x",
		"y.localhost":      "zn",
		"127.0.0.1:8090":   "zn",
		"x":                "zn",
		"x.":               "zn",
		"":                 "zn",
	} {
		g.Expect(m.Zone(host, exists)).To(Equal(want), host)
	}
}
