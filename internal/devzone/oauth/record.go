// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"log/slog"
	"time"
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
	// Policies decided, if it came to that.
	Policies []string
	// TokenID is the jti of a token that the zone signed.
	TokenID string
	// Error is the OAuth error code; empty when a token was issued.
	Error       string
	Description string
}

// Recorder takes the record of every token request.
type Recorder interface {
	Record(ctx context.Context, x Exchange)
}

// LogRecorder writes records to a log.
type LogRecorder struct {
	Logger *slog.Logger
}

// Record writes one line.
func (l LogRecorder) Record(ctx context.Context, x Exchange) {
	attrs := []slog.Attr{
		slog.String("request_id", x.RequestID),
		slog.String("zone", x.ZoneID),
		slog.String("grant_type", x.GrantType),
		slog.String("application", x.Application),
		slog.String("subject", x.Subject),
		slog.Bool("impersonate", x.Impersonate),
		slog.String("resource", x.Resource),
		slog.Any("granted", x.Granted),
	}
	if x.Error == "" {
		l.Logger.LogAttrs(ctx, slog.LevelInfo, "token issued", attrs...)
		return
	}
	attrs = append(attrs, slog.String("error", x.Error), slog.String("description", x.Description))
	l.Logger.LogAttrs(ctx, slog.LevelWarn, "token refused", attrs...)
}
