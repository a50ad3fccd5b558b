// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"time"

	"github.com/keycardai/keycard-operator/devzone/policy"
)

// Exchange is the record of one request to the token endpoint, granted or not.
// It holds no token and no secret.
type Exchange struct {
	Time      time.Time
	RequestID string
	ZoneID    string
	GrantType string
	// Application and ClientID name the caller; empty when it did not
	// authenticate.
	Application string
	ClientID    string
	// Subject is the identifier of the user on whose behalf it was, if any.
	Subject     string
	Impersonate bool
	Resource    string
	// Requested and Granted are scopes.
	Requested []string
	Granted   []string
	// Workload is the subject of the caller's workload identity, if it has one.
	Workload string
	// SessionID is the session that a token was issued in, if any.
	SessionID string
	// Decision is that of the policies, if it came to that.
	Decision *policy.Decision
	// TokenID is the jti of a token that the zone signed.
	TokenID string
	// Error is the OAuth error code; empty when a token was issued.
	Error       string
	Description string
}

// Recorder takes the record of every token request. When it fails, no token is
// given.
type Recorder interface {
	Record(ctx context.Context, x Exchange) error
}
