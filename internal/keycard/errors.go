// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class says what a failed call means for whoever wants to try again, and who can mend it.
type Class string

const (
	// Transient means that the network or the remote side failed for now. Nobody has to do anything; try again
	// with backoff.
	Transient Class = "Transient"
	// Throttled means that the remote side asks for a pause. Wait for Error.RetryAfter (with backoff when it is
	// zero), for every call to the same zone and not for this one only.
	Throttled Class = "Throttled"
	// Misconfigured means that the request is wrong as it is: credentials, URL, identifier, scope or parameter. The
	// person who wrote the configuration mends it; trying again fast does not.
	Misconfigured Class = "Misconfigured"
	// NeedsConsent means that the person on whose behalf the token is asked for has not consented, or her consent
	// has lapsed. She mends it by consenting.
	NeedsConsent Class = "NeedsConsent"
	// Denied means that the request is understood and refused by a policy, a missing dependency or a missing
	// permission. The zone's administrator mends it.
	Denied Class = "Denied"
)

// Causes that callers tell apart with errors.Is; all are of class Misconfigured.
var (
	// ErrEndpointNotAllowed: a URL is not https (or loopback where that is allowed), carries what a base URL
	// must not, or leaves the issuer's host.
	ErrEndpointNotAllowed = errors.New("endpoint not allowed")
	// ErrTokenUnusable: the zone issued something that cannot be used as a bearer token.
	ErrTokenUnusable = errors.New("token unusable")
)

// Error is a failed call. Its text is stable: the same failure gives the same text at every attempt, so
// that it can be written into a status. It never holds a credential.
type Error struct {
	// Op is what was being done, as a gerund: "listing providers".
	Op string
	// Status is the HTTP status, 0 when no answer arrived.
	Status int
	// Code is the OAuth `error` (RFC 6749 section 5.2) or the management API's `code`, if there was one.
	Code string
	// Description is the remote side's explanation, cleaned of markup, control characters and whatever looks
	// like a token, and cut; or the operator's own words when the remote side gave none.
	Description string
	// RequestID is the remote side's id of this attempt, for logs and support. It is not part of the text.
	RequestID string
	// RetryAfter is the pause that the remote side asked for, between 0 and an hour.
	RetryAfter time.Duration
	// Class says what the failure means.
	Class Class
	// Management is true for a call of the management API, which is made as a service account.
	Management bool
	// Err is the underlying error, if any. It may name addresses and ports, so it is not part of the text.
	Err error `json:"-"`

	// foreign marks an answer that does not look like Keycard's: a web page, or plain text.
	foreign bool
}

// Error returns "op: code: description", with the HTTP status in the place of a missing code.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{e.Op, e.reason(), e.Description} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

func (e *Error) reason() string {
	switch {
	case e.Code != "":
		return e.Code
	case e.Status != 0:
		return fmt.Sprintf("HTTP %d", e.Status)
	default:
		return ""
	}
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// ClassOf returns the class of the *Error in err's chain. Any other error is Transient, because nothing
// is known that would make trying again pointless; nil has no class. A cancelled context gives an error
// for which errors.Is(err, context.Canceled) holds: ask that first when it matters.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := AsError(err); ok {
		return e.Class
	}
	return Transient
}

// IsNotFound reports whether Keycard said that the object does not exist. A 404 that does not look like
// Keycard's, such as a web server's page, does not count: it rather means a wrong URL.
func IsNotFound(err error) bool {
	e, ok := AsError(err)
	return ok && e.Status == http.StatusNotFound && !e.foreign
}

// IsConflict reports whether an object with the same identifier exists already.
func IsConflict(err error) bool {
	e, ok := AsError(err)
	return ok && e.Status == http.StatusConflict
}

// misconfigured is the error for a request that is refused before it is sent.
func misconfigured(op, format string, args ...any) *Error {
	return &Error{Op: op, Class: Misconfigured, Description: fmt.Sprintf(format, args...)}
}

// endpointError is the error for a URL that is not allowed, see ErrEndpointNotAllowed.
func endpointError(op, format string, args ...any) *Error {
	e := misconfigured(op, format, args...)
	e.Err = ErrEndpointNotAllowed
	return e
}
