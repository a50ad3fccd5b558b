// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

func TestPoolKeepsClients(t *testing.T) {
	g := NewWithT(t)
	pool := newPool(t, options())
	get := func(url, id, secret string) *keycard.ManagementClient {
		m, err := pool.Management(keycard.ManagementConfig{BaseURL: url, ClientID: id, ClientSecret: redacted.New(secret)})
		g.Expect(err).NotTo(HaveOccurred())
		return m
	}
	first := get("https://api.keycard.ai", "id", "secret")
	g.Expect(get("https://api.keycard.ai/", "id", "secret")).To(BeIdenticalTo(first))
	g.Expect(get("https://api.keycard.ai", "id", "rotated")).NotTo(BeIdenticalTo(first))
	g.Expect(get("https://api.keycard.ai", "other", "secret")).NotTo(BeIdenticalTo(first))
	g.Expect(get("https://other.keycard.ai", "id", "secret")).NotTo(BeIdenticalTo(first))
	g.Expect(get("https://api.keycard.ai", "ids", "ecret")).NotTo(BeIdenticalTo(first), "the parts must not run together")

	zone, err := pool.Zone("https://z1.keycard.cloud")
	g.Expect(err).NotTo(HaveOccurred())
	same, err := pool.Zone("https://z1.keycard.cloud/")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(same).To(BeIdenticalTo(zone))
	g.Expect(zone.Issuer()).To(Equal("https://z1.keycard.cloud"))
	other, err := pool.Zone("https://z2.keycard.cloud")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(other).NotTo(BeIdenticalTo(zone))
}

func TestPoolKeepsTokensAcrossUses(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("GET /zones/z1", answer(200, `{"id":"z1"}`))
	pool := newPool(t, options())
	var done sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		done.Go(func() {
			m, err := pool.Management(keycard.ManagementConfig{BaseURL: s.URL, ClientID: "id", ClientSecret: redacted.New(clientSecret)})
			if err == nil {
				_, err = m.GetZone(context.Background(), "z1")
			}
			errs <- err
		})
	}
	done.Wait()
	close(errs)
	for err := range errs {
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(s.requests(accountPath)).To(HaveLen(1))
}

func TestPoolIsBounded(t *testing.T) {
	g := NewWithT(t)
	pool := newPool(t, options())
	zone := func(i int) *keycard.ZoneClient {
		z, err := pool.Zone(fmt.Sprintf("https://z%d.keycard.cloud", i))
		g.Expect(err).NotTo(HaveOccurred())
		return z
	}
	const limit = 256
	oldest, second := zone(0), zone(1)
	for i := 2; i < limit; i++ {
		zone(i)
	}
	g.Expect(zone(0)).To(BeIdenticalTo(oldest), "all of them fit")
	zone(limit)
	g.Expect(zone(0)).To(BeIdenticalTo(oldest), "it was used after the second one")
	g.Expect(zone(1)).NotTo(BeIdenticalTo(second), "the one that was used least recently made room")
}

// A server that an install names does not decide how much of its answer stays in memory.
func TestManagementTokenIsAllThatIsKept(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("POST "+accountPath, answer(200, `{"access_token":"`+managementToken+`","refresh_token":"`+strings.Repeat("r", 900<<10)+`","expires_in":3600}`))
	const clients = 50
	pool := newPool(t, options())
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for i := range clients {
		m, err := pool.Management(keycard.ManagementConfig{BaseURL: s.URL, ClientID: fmt.Sprint("id", i), ClientSecret: redacted.New(clientSecret)})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
	}
	g.Expect(heap() - before).To(BeNumerically("<", clients*100<<10))
	runtime.KeepAlive(pool)
}
