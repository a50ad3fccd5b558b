// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// connectionError judges a call that got no answer, or only a part of one. The description leaves out
// addresses and ports, which differ from attempt to attempt.
func connectionError(ctx context.Context, op string, err error) *Error {
	e := &Error{Op: op, Class: Transient, Err: err}
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		e.Err = cause
	}
	e.Description, e.Class = describeConnection(e.Err)
	return e
}

func describeConnection(err error) (string, Class) {
	if description, ok := describeTLS(err); ok {
		return description, Misconfigured
	}
	var (
		timeout net.Error
		dns     *net.DNSError
		errno   syscall.Errno
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled", Transient
	case errors.As(err, &dns) && dns.IsNotFound:
		return "host " + cleanDescription(dns.Name, nil) + " not found", Transient
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out", Transient
	case dns != nil:
		return "host " + cleanDescription(dns.Name, nil) + " could not be resolved", Transient
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection closed before the answer was complete", Transient
	case errors.As(err, &errno):
		return errno.Error(), Transient
	default:
		return "connection failed", Transient
	}
}

// describeTLS recognises failures that the network is not to blame for: they last until somebody changes
// a certificate, a trust store or a URL.
func describeTLS(err error) (string, bool) {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an unknown authority; is its CA configured?", true
	case errors.As(err, &hostname):
		return "the server's certificate is for another host; is the URL right?", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not yet valid", true
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the server's certificate is not valid", true
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the server speaks http, not https; is the URL right?", true
	default:
		return "", false
	}
}
