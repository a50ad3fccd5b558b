// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

// TestConcurrentExchanges runs many exchanges on one grant at once. Without a
// leeway the stand-in ends the grant when any refresh token comes twice.
func TestConcurrentExchanges(t *testing.T) {
	g := NewWithT(t)
	var u upstream
	z := start(t, devzone.Config{RefreshLeeway: -1, AtlassianMiddleware: u.middleware})
	z.install(nil)
	const workers, rounds = 8, 10
	var wg sync.WaitGroup
	failures := make(chan string, workers*rounds)
	for range workers {
		wg.Go(func() {
			for range rounds {
				if got := z.impersonate("alice@example.com"); got.Status != 200 {
					failures <- got.Raw
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	for f := range failures {
		t.Error(f)
	}
	g.Expect(u.codes.Load()).To(Equal(int64(1)), "one consent for all")
	g.Expect(u.reused.Load()).To(BeZero(), "no refresh token was sent twice")
	g.Expect(u.refreshes.Load()).To(And(BeNumerically(">=", rounds-1), BeNumerically("<=", workers*rounds)))
	g.Expect(z.grant()).To(HaveKeyWithValue("status", "active"))
}

func TestRevocationDuringARefresh(t *testing.T) {
	g := NewWithT(t)
	var u upstream
	z := start(t, devzone.Config{AtlassianMiddleware: u.middleware})
	z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	gate := make(chan struct{})
	u.gate.Store(&gate)
	answer := make(chan reply, 1)
	go func() { answer <- z.impersonate("alice@example.com") }()
	g.Eventually(u.refreshes.Load).Should(Equal(int64(1)))
	z.must("PATCH", "/delegated-grants/"+z.grant()["id"].(string), map[string]any{"status": "revoked"})
	close(gate)
	g.Expect((<-answer).Body).To(HaveKeyWithValue("error", "insufficient_authorization"))
	g.Expect(z.grant()).To(And(HaveKeyWithValue("status", "revoked"), HaveKeyWithValue("refresh_token_set", false)))
}

func TestCallerThatGivesUpDoesNotLoseTheRefreshToken(t *testing.T) {
	g := NewWithT(t)
	var u upstream
	requests := make(chan context.Context, 8)
	z := start(t, devzone.Config{RefreshLeeway: -1, AtlassianMiddleware: u.middleware, ZoneMiddleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests <- r.Context()
			next.ServeHTTP(w, r)
		})
	}})
	z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	<-requests
	gate := make(chan struct{})
	u.gate.Store(&gate)

	form := impersonation("alice@example.com", confluence)
	req := z.request("POST", z.ZoneURL+"/oauth/2/token", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", "dev-only-reports-password")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req.WithContext(ctx))
		if err == nil {
			_ = resp.Body.Close()
		}
		gone <- err
	}()
	g.Eventually(u.refreshes.Load).Should(Equal(int64(1)))
	cancel()
	g.Expect(<-gone).To(HaveOccurred())
	<-(<-requests).Done()
	close(gate)
	u.gate.Store(nil)
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	g.Expect(u.reused.Load()).To(BeZero())
}
