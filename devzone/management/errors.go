// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// apiError is the error body of every endpoint.
type apiError struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Status  int    `json:"status"`
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

func failure(status int, code, format string, args ...any) *apiError {
	return &apiError{Message: fmt.Sprintf(format, args...), Code: code, Status: status}
}

func badRequest(format string, args ...any) *apiError {
	return failure(http.StatusBadRequest, "bad_request", format, args...)
}

func forbidden(format string, args ...any) *apiError {
	return failure(http.StatusForbidden, "forbidden", format, args...)
}

func notFound(format string, args ...any) *apiError {
	return failure(http.StatusNotFound, "not_found", format, args...)
}

// asAPIError turns what the store and the endpoints return into a body. An
// unknown error is a fault of the server, and its text stays in the log.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*store.NotFoundError](err); ok {
		return notFound("%s", e.Error())
	}
	if e, ok := errors.AsType[*store.ConflictError](err); ok {
		return failure(http.StatusConflict, "conflict", "%s", e.Error())
	}
	if e, ok := errors.AsType[*store.InUseError](err); ok {
		return failure(http.StatusConflict, "in_use", "%s", e.Error())
	}
	return failure(http.StatusInternalServerError, "internal_error", "internal error: see the server's log")
}

func writeError(w http.ResponseWriter, e *apiError) {
	switch e.Status {
	case http.StatusConflict:
		// Without this, clients made by the SDK's generator send the request
		// three times.
		w.Header().Set("X-Should-Retry", "false")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	wire.JSON(w, e.Status, e)
}
