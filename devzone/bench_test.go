// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// BenchmarkExchange exchanges over real HTTP, clients and server on one machine.
func BenchmarkExchange(b *testing.B) {
	for name, bench := range map[string]struct {
		mode     broker.Mode
		resource string
		users    int
		others   int
		// disk keeps everything in a folder.
		disk bool
	}{
		"refresh/one grant":        {broker.Refresh, confluence, 1, 0, false},
		"refresh/many grants":      {broker.Refresh, confluence, 64, 0, false},
		"cached/many grants":       {broker.Cached, confluence, 64, 0, false},
		"cached/among 2000 others": {broker.Cached, confluence, 64, 2000, false},
		"refresh/on disk":          {broker.Refresh, confluence, 64, 0, true},
		"sts/many users":           {broker.Refresh, mine, 64, 0, false},
	} {
		b.Run(name, func(b *testing.B) {
			c := devzone.Config{UpstreamTokens: bench.mode, Seed: crowd(bench.users)}
			if bench.disk {
				c.DataDir, c.DataKey = b.TempDir(), bytes.Repeat([]byte{1}, disk.KeySize)
			}
			z := start(b, c)
			z.install(nil)
			z.own(mine, true, nil)
			z.change(func(tx *store.Tx) error { return neighbours(tx, z.ZoneID, bench.others) })
			bodies := make([][]byte, bench.users)
			for i := range bodies {
				bodies[i] = []byte(impersonation(fmt.Sprintf("u%d@example.com", i), bench.resource).Encode())
			}
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			for _, body := range bodies {
				exchangeOnce(b, client, z.ZoneURL, body)
			}
			b.SetParallelism(8)
			b.ResetTimer()
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					exchangeOnce(b, client, z.ZoneURL, bodies[int(next.Add(1))%len(bodies)])
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
		})
	}
}

func exchangeOnce(b *testing.B, client *http.Client, zoneURL string, body []byte) {
	req, err := http.NewRequest(http.MethodPost, zoneURL+"/oauth/2/token", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", "dev-only-reports-password")
	resp, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("HTTP %d: %s, %v", resp.StatusCode, answer, err)
	}
}

// neighbours are other applications that depend on what there is.
func neighbours(tx *store.Tx, zoneID string, n int) error {
	resource, _ := tx.Resources.Find(zoneID, confluence)
	for i := range n {
		meta, name := store.Meta{ZoneID: zoneID}, fmt.Sprintf("neighbour-%d", i)
		app, err := tx.Applications.Insert(store.Application{Meta: meta, Identifier: name, Name: name})
		if err != nil {
			return err
		}
		if _, err := tx.Credentials.Insert(store.Credential{Meta: meta, ApplicationID: app.ID, Type: store.CredentialPassword, Identifier: name}); err != nil {
			return err
		}
		if err := tx.Depend(zoneID, app.ID, resource.ID, nil); err != nil {
			return err
		}
	}
	return nil
}

// crowd is a seed with users who have agreed to Confluence.
func crowd(n int) *seed.Seed {
	s := seed.Default()
	for i := range n {
		email := fmt.Sprintf("u%d@example.com", i)
		s.Users = append(s.Users, seed.User{Email: email, Consents: []seed.Consent{{Resource: confluence}}})
		s.Applications[0].MayImpersonate = append(s.Applications[0].MayImpersonate, email)
		s.Atlassian.Users = append(s.Atlassian.Users, atlassian.User{AccountID: fmt.Sprintf("%024d", i), Email: email, Name: email})
		s.Atlassian.Sites[0].Members = append(s.Atlassian.Sites[0].Members, email)
	}
	return s
}
