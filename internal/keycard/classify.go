// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"net/http"
	"strings"
)

// codeClasses gives the class of an OAuth error code. Codes decide before the HTTP status does, because
// the status of most of them is not specified and differs between servers.
var codeClasses = map[string]Class{
	"insufficient_authorization": NeedsConsent, // Keycard's code for a missing, revoked or expired grant
	"consent_required":           NeedsConsent,
	"interaction_required":       NeedsConsent,
	"login_required":             NeedsConsent,

	"access_denied":       Denied,
	"unauthorized_client": Denied,

	"invalid_client":  Misconfigured,
	"invalid_grant":   Misconfigured,
	"invalid_target":  Misconfigured,
	"invalid_scope":   Misconfigured,
	"invalid_request": Misconfigured,

	"slow_down": Throttled,
}

// classify gives the class of an answer that is not a success. A code that is not in the table, among
// them temporarily_unavailable and server_error, is judged by the status.
func classify(status int, code string, retryAfter bool) Class {
	if class, ok := codeClasses[code]; ok {
		return class
	}
	switch {
	case strings.HasPrefix(code, "unsupported_"):
		return Misconfigured
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retryAfter:
		return Throttled
	case code == "temporarily_unavailable", code == "server_error":
		return Transient
	case status >= 500, status < 300, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return Transient
	case status == http.StatusForbidden:
		return Denied
	default:
		return Misconfigured
	}
}
