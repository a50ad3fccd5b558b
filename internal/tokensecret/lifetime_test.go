// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

func TestOddLifetime(t *testing.T) {
	const (
		unknown, skew = v1alpha1.ReasonLifetimeUnknown, v1alpha1.ReasonClockSkew
		life, check   = "; the token is taken to live 50m0s", "; check the time on the cluster's nodes, and the zone's"
	)
	for _, tc := range []struct {
		from            keycard.Lifetime
		reason, message string
	}{
		{keycard.Lifetime{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementMissing}, unknown, "expires_in is missing" + life},
		{keycard.Lifetime{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementNotPositive}, unknown, "expires_in is not positive" + life},
		{keycard.Lifetime{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementNotANumber}, unknown, "expires_in is not a number" + life},
		{keycard.Lifetime{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementMissing, ClockSkew: -time.Second}, unknown, "expires_in is missing; the token's exp claim has passed, by this clock" + life},
		{keycard.Lifetime{Source: keycard.LifetimeAssumed}, unknown, "the zone announced an odd lifetime" + life},
		{keycard.Lifetime{Source: keycard.LifetimeFromClaim, Announced: keycard.AnnouncementMissing}, unknown, "expires_in is missing; used the token's exp claim" + life},
		{keycard.Lifetime{Source: keycard.LifetimeCapped, Announced: keycard.AnnouncementGiven}, unknown, "the announced lifetime is over 24 hours; took it as 24 hours" + life},
		{keycard.Lifetime{Source: keycard.LifetimeFromClaim, Announced: keycard.AnnouncementGiven, ClockSkew: -time.Minute}, skew, "the clocks disagree: the token's exp claim is earlier than expires_in; used the claim" + life + check},
		{keycard.Lifetime{Source: keycard.LifetimeFromExpiresIn, Announced: keycard.AnnouncementGiven, ClockSkew: -time.Minute}, skew, "the clocks disagree: the token's exp claim has passed, by this clock; used expires_in" + life + check},
		{keycard.Lifetime{Source: keycard.LifetimeFromExpiresIn, Announced: keycard.AnnouncementGiven, ClockSkew: time.Minute}, skew, "the clocks disagree: the token's exp claim is later than expires_in; used expires_in" + life + check},
	} {
		reason, message := (&Held{Life: refresh.NewLife(noon, 50*time.Minute), Note: Note{Lifetime: tc.from}}).OddLifetime()
		if reason != tc.reason || message != tc.message {
			t.Errorf("%+v: %s: %s, want %s: %s", tc.from, reason, message, tc.reason, tc.message)
		}
	}
}
