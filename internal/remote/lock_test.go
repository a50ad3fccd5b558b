// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// A key is had by one at a time. No one waits for longer than a context lives. A key that no one
// uses is forgotten.
func TestKeyedMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyedMutex
		unlock, err := k.lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("waiting ended with %v", err)
		}
		other, err := k.lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()
		inside := 0
		var waiting sync.WaitGroup
		for range 10 {
			waiting.Go(func() {
				unlock, err := k.lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				if inside++; inside != 1 {
					t.Errorf("%d have it", inside)
				}
				<-time.After(time.Second) // of the bubble
				inside--
			})
		}
		synctest.Wait()
		if inside != 0 {
			t.Error("it was had twice")
		}
		unlock()
		waiting.Wait()
		if len(k.m) != 0 {
			t.Errorf("%d keys are left", len(k.m))
		}
	})
}

// Installs of one zone wait for each other for a while and then say so; others do not wait,
// whatever id they name.
func TestLock(t *testing.T) {
	look := func(zones *Zones, apiURL string) *Zone {
		zone := v1alpha1.ZoneReference{ID: "z1", APIURL: apiURL}
		return zones.Look(zone.ManagementURL(), zone.ID, false)
	}
	for name, tt := range map[string]struct {
		first, second string
		waits         bool
	}{
		"the same":              {"", "", true},
		"the hosted one":        {"", v1alpha1.DefaultAPIURL, true},
		"another spelling":      {"https://API.example", "https://api.example", true},
		"another":               {"https://api.example", "https://evil.example", false},
		"not the hosted one":    {"", "https://evil.example", false},
		"the same at two ports": {"https://api.example:1", "https://api.example:2", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zones := &Zones{}
				unlock, err := look(zones, tt.first).Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				second, err := look(zones, tt.second).Lock(t.Context())
				var p *problem.Problem
				switch {
				case tt.waits && (!errors.As(err, &p) || !p.Passes() || time.Since(begun) != lockPatience):
					t.Errorf("after %s it is told %v", time.Since(begun), err)
				case !tt.waits && err != nil:
					t.Error(err)
				case !tt.waits:
					second()
				}
				unlock()
			})
		})
	}
}
