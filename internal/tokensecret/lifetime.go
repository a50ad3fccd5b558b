// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"fmt"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// announcements say what the zone sent in place of a lifetime.
var announcements = map[keycard.Announcement]string{
	keycard.AnnouncementMissing:     "expires_in is missing",
	keycard.AnnouncementNotPositive: "expires_in is not positive",
	keycard.AnnouncementNotANumber:  "expires_in is not a number",
}

// OddLifetime returns what to show of a token whose lifetime the zone announced oddly. The texts do not
// vary from token to token.
func (h *Held) OddLifetime() (reason, message string) {
	l := h.Lifetime
	life := fmt.Sprintf("; the token is taken to live %s", h.Life.Lifetime())
	if l.ClockSkew != 0 && l.Source != keycard.LifetimeAssumed {
		return v1alpha1.ReasonClockSkew, "the clocks disagree: " + skewed(l) + life + "; check the time on the cluster's nodes, and the zone's"
	}
	text, known := announcements[l.Announced]
	switch {
	case l.Source == keycard.LifetimeCapped:
		text = "the announced lifetime is over 24 hours; took it as 24 hours"
	case !known:
		text = "the zone announced an odd lifetime"
	case l.Source == keycard.LifetimeFromClaim:
		text += "; used the token's exp claim"
	case l.ClockSkew != 0:
		text += "; the token's exp claim has passed, by this clock"
	}
	return v1alpha1.ReasonLifetimeUnknown, text + life
}

func skewed(l keycard.Lifetime) string {
	switch {
	case l.Source == keycard.LifetimeFromClaim:
		return "the token's exp claim is earlier than expires_in; used the claim"
	case l.ClockSkew < 0:
		return "the token's exp claim has passed, by this clock; used expires_in"
	}
	return "the token's exp claim is later than expires_in; used expires_in"
}
