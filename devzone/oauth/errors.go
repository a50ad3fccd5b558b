// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/keycardai/keycard-operator/devzone/broker"
)

// errMalformed marks a token that cannot be parsed.
var errMalformed = errors.New("malformed token")

// refusal is an OAuth error response (RFC 6749, section 5.2).
type refusal struct {
	Status      int    `json:"-"`
	RetryAfter  string `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	RequestID   string `json:"requestId,omitempty"`
}

// Error returns code and description.
func (e *refusal) Error() string { return e.Code + ": " + e.Description }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{Status: http.StatusBadRequest, Code: code, Description: fmt.Sprintf(format, args...)}
}

func invalidRequest(format string, args ...any) *refusal {
	return refuse("invalid_request", format, args...)
}

func invalidClient(description string) *refusal {
	e := refuse("invalid_client", "%s", description)
	e.Status = http.StatusUnauthorized
	return e
}

func invalidGrant(description string) *refusal { return refuse("invalid_grant", "%s", description) }

// unavailable says that the same request may work later.
func unavailable(description string) *refusal {
	e := refuse("temporarily_unavailable", "%s", description)
	e.Status = http.StatusServiceUnavailable
	return e
}

// asRefusal turns any error of a token request into an OAuth error. Faults of a
// provider keep their cause, because only a person who reads it can mend it.
func asRefusal(err error) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		copied := *e
		return &copied
	}
	if errors.Is(err, broker.ErrConsentRequired) {
		return refuse("insufficient_authorization", "User consent is required")
	}
	if e, ok := errors.AsType[*broker.UpstreamError](err); ok {
		if e.Temporary() {
			return &refusal{
				Status: http.StatusServiceUnavailable, RetryAfter: e.RetryAfter,
				Code: "temporarily_unavailable", Description: e.Error(),
			}
		}
		return &refusal{Status: http.StatusBadGateway, Code: "server_error", Description: e.Error()}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return unavailable("the request took too long")
	}
	return &refusal{
		Status: http.StatusInternalServerError, Code: "server_error",
		Description: "internal error: see the server's log",
	}
}
