// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestUpstreamCA(t *testing.T) {
	g := NewWithT(t)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	g.Expect(os.WriteFile(file, block, 0o600)).To(Succeed())

	o := newOptions()
	o.upstreamCA, o.tokenLifetime = file, time.Hour
	c, err := o.config(nil)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = server.Certificate().Verify(x509.VerifyOptions{Roots: c.UpstreamCAs})
	g.Expect(err).NotTo(HaveOccurred())

	none, err := newOptions().upstreamCAs()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(none).To(BeNil(), "the system's are used")
}
