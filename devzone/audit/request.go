// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"net/http"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Limits of what is taken over from a client, in bytes.
const (
	maxCorrelationID = 128
	maxUserAgent     = 256
)

// Request is what is known of the HTTP request that an event belongs to.
type Request struct {
	ID            string
	CorrelationID string
	UserAgent     string
}

type requestKey struct{}

// Requests gives each request an id, which it also answers as X-Request-Id, and
// remembers what the client said of itself.
func Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := Request{ID: store.NewID(), CorrelationID: correlation(r.Header), UserAgent: wire.Clean(r.UserAgent(), maxUserAgent)}
		w.Header().Set("X-Request-Id", request.ID)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, request)))
	})
}

// RequestOf returns the request of a context, or none.
func RequestOf(ctx context.Context) Request {
	request, _ := ctx.Value(requestKey{}).(Request)
	return request
}

// correlation reads the id that Keycard's SDKs, or its Terraform provider, send.
// One that is no short visible text is ignored.
func correlation(h http.Header) string {
	for _, name := range []string{"X-Client-Request-ID", "x-client-trace-id"} {
		if id := h.Get(name); id != "" && len(id) <= maxCorrelationID && !strings.ContainsFunc(id, invisible) {
			return id
		}
	}
	return ""
}

func invisible(r rune) bool { return r <= ' ' || r > '~' }
