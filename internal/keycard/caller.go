// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/http"
	"strings"
)

// Caller says for what a request is made, so that one can walk from an object in the cluster to the zone's
// audit log and back.
type Caller struct {
	// Object names what asks, such as "ConfluenceTokenBinding team-a/reports". It becomes a part of the
	// User-Agent.
	Object string
	// CorrelationID is sent as X-Client-Request-ID, as Keycard's SDKs do, and is also in the operator's log.
	CorrelationID string
}

type callerKey struct{}

// WithCaller has every request with the context say who asks.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// identify sets the headers that name the caller. Both values are shortened to visible ASCII: an object's
// name can't be more, but nothing of the cluster may break a request.
func (o Options) identify(req *http.Request) {
	agent := o.UserAgent
	c, _ := req.Context().Value(callerKey{}).(Caller)
	if object := plain(c.Object); object != "" {
		agent += " (" + object + ")"
	}
	req.Header.Set("User-Agent", agent)
	if id := plain(c.CorrelationID); id != "" {
		req.Header.Set("X-Client-Request-ID", id)
	}
}

func plain(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '(' || r == ')' || r == '\\' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}
