// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// skews are how far the zone's clock is ahead of the cluster's.
var skews = map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute}

// A zone whose clock is off is of no consequence: tokens live from their receipt on as long as the zone says, are replaced in
// time, and work until then.
func TestTokensOfASkewedZone(t *testing.T) {
	for name, skew := range skews {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, func(c *devzone.Config) {
				now := c.Clock
				c.Clock = func() time.Time { return now().Add(skew) }
				c.UpstreamTokenLifetime = 5 * time.Minute
			})
			_, binding := w.Ready()
			const rotations = 5
			for range rotations {
				w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
				if got := binding.Status.ExpiresAt.Sub(w.Clock.Now()); got != 5*time.Minute {
					t.Fatalf("the token expires in %s by this clock", got)
				}
				life := refresh.Life{IssuedAt: binding.Status.IssuedAt.Time, ExpiresAt: binding.Status.ExpiresAt.Time}
				if at := binding.Status.RefreshAt.Time; at.After(life.ExpiresAt.Add(-time.Minute)) || at.Sub(life.IssuedAt) < refresh.MinInterval {
					t.Fatalf("the refresh is due after %s of %s", at.Sub(life.IssuedAt), life.Lifetime())
				}
				before := w.Output(binding)
				w.Clock.SetTime(binding.Status.RefreshAt.Time)
				w.Pages(before)
				w.ReconcileBinding(binding)
			}
			if n := w.Requests.Count(world.Exchanges); n != rotations+1 {
				t.Errorf("%d exchanges for %d rotations and a first token", n, rotations)
			}
			w.NoCanaries()
		})
	}
}

// A token that is a JWT says itself until when it lives, by the clock of whoever issued it. Where that is off by more than a minute
// the earlier of the two counts, and the condition says so.
func TestClaimsOfASkewedIssuer(t *testing.T) {
	type result struct {
		life   time.Duration
		reason string
		says   string
	}
	for name, tc := range map[string]struct {
		skew, lifetime time.Duration
		expiresIn      bool
		want           result
	}{
		"ahead":               {10 * time.Minute, time.Hour, true, result{time.Hour, v1alpha1.ReasonClockSkew, "later than expires_in"}},
		"behind":              {-10 * time.Minute, time.Hour, true, result{50 * time.Minute, v1alpha1.ReasonClockSkew, "earlier than expires_in; used the claim, so it lives 50m0s"}},
		"behind, short":       {-10 * time.Minute, 5 * time.Minute, true, result{5 * time.Minute, v1alpha1.ReasonClockSkew, "has passed, by this clock; used expires_in"}},
		"a little ahead":      {time.Minute, time.Hour, true, result{time.Hour, v1alpha1.ReasonIssued, ""}},
		"a little behind":     {-time.Minute, time.Hour, true, result{time.Hour, v1alpha1.ReasonIssued, ""}},
		"ahead, unannounced":  {10 * time.Minute, time.Hour, false, result{time.Hour, v1alpha1.ReasonLifetimeUnknown, "used the token's exp claim"}},
		"behind, unannounced": {-10 * time.Minute, time.Hour, false, result{50 * time.Minute, v1alpha1.ReasonLifetimeUnknown, "used the token's exp claim"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			issued := w.Clock.Now().Add(tc.skew)
			claims := fmt.Sprintf(`{"iat":%d,"exp":%d}`, issued.Unix(), issued.Add(tc.lifetime).Unix())
			token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
			announced := "null"
			if tc.expiresIn {
				announced = fmt.Sprint(tc.lifetime.Seconds())
			}
			w.Inject("accessible-resources", world.ReplyJSON(200, world.OKSite))
			w.Inject(world.Exchanges, world.ReplyJSON(200, fmt.Sprintf(world.Token200, token, announced)))
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.want.reason)
			if !strings.Contains(message, tc.want.says) {
				t.Errorf("the message does not say %q: %s", tc.want.says, message)
			}
			if got := binding.Status.ExpiresAt.Sub(w.Clock.Now()); got != tc.want.life {
				t.Errorf("the token is taken to live %s, want %s", got, tc.want.life)
			}
			// A restart knows it too.
			w.Connect()
			w.Writes.Take()
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.want.reason)
			if n := w.Writes.Take(); len(n) > 0 {
				t.Errorf("a restart wrote %v", n)
			}
		})
	}
}

// A workload calls with a token that the cluster issued, by the cluster's clock. A zone that is ten minutes ahead still takes it; one
// that is behind says that it is not valid yet, which is what the condition says until the clocks agree. A token that pods have
// is good all the while.
func TestWorkloadsOfASkewedZone(t *testing.T) {
	for name, skew := range skews {
		t.Run(name, func(t *testing.T) {
			var off atomic.Int64
			w, binding := world.Workload(t, func(c *devzone.Config) {
				c.Clock = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
			})
			must.Succeed(t, w.K8s.Create(w.Ctx, w.Wiki()))
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			off.Store(int64(skew))
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			if skew > 0 {
				w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
				return
			}
			// It might not be registered yet, so it is tried again soon; but not for ever.
			wait, attempts := w.ReconcileBinding(binding).RequeueAfter, 1
			for ; wait < world.SlowRetry && attempts < 20; attempts++ {
				message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
				if !strings.Contains(message, "is not valid yet") {
					t.Fatalf("the message does not say what the zone says: %s", message)
				}
				w.Clock.Step(wait)
				wait = w.ReconcileBinding(binding).RequeueAfter
			}
			if attempts > 10 {
				t.Errorf("it was tried soon %d times", attempts)
			}
			message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			for _, part := range []string{v1alpha1.ReasonClientRejected, "is not valid yet", "both clocks"} {
				if !strings.Contains(message, part) {
					t.Errorf("the message does not say %q: %s", part, message)
				}
			}
			off.Store(0)
			w.Clock.Step(wait)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.NoCanaries()
		})
	}
}

// A token that was received by a clock that was an hour ahead expires an hour before what was noted: once the clock is right
// it is replaced, and the times are right again.
func TestClockIsSetBack(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	before := string(w.Output(binding).Data["token"])
	w.Clock.SetTime(w.Clock.Now().Add(-time.Hour))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if string(w.Output(binding).Data["token"]) == before || binding.Status.IssuedAt.After(w.Clock.Now()) {
		t.Errorf("the token is of %s", binding.Status.IssuedAt)
	}
	w.Requests.Take()
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("%d more exchanges", n)
	}
}
