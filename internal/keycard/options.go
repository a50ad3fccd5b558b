// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options are the settings of a Pool. The zero value is ready for use; durations that are not positive
// mean the default.
type Options struct {
	// UserAgent is sent with every request, so that the zone's audit log can name the caller.
	// Default "keycard-operator".
	UserAgent string
	// Timeout bounds one request from dialling to the last byte of the answer. Default 30 s.
	Timeout time.Duration
	// DialTimeout bounds the TCP connection, TLSHandshakeTimeout the handshake after it. Default 10 s each.
	DialTimeout, TLSHandshakeTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for the first byte of an answer. Default 20 s.
	ResponseHeaderTimeout time.Duration
	// AllowInsecureLoopback admits http:// URLs whose host is localhost or a loopback address.
	AllowInsecureLoopback bool
	// RootCAs replaces the system's certificate authorities. Default nil: the system's.
	RootCAs *x509.CertPool
	// Wrap stands before every request that is sent. Default nil: nothing does.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Now is the clock for caches and observation times. Default time.Now.
	Now func() time.Time

	// http2 finds connections out that take requests and give no answer any more. Default silentConnections.
	http2 *http.HTTP2Config
}

// silentConnections has a connection of HTTP/2 tried when nothing came for a while: all requests to a server share one, and
// when something on the way drops its packets without a word, TCP takes a quarter of an hour to notice.
var silentConnections = http.HTTP2Config{
	SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second, WriteByteTimeout: 30 * time.Second,
}

func (o Options) withDefaults() Options {
	if o.UserAgent == "" {
		o.UserAgent = "keycard-operator"
	}
	for field, value := range map[*time.Duration]time.Duration{
		&o.Timeout:               30 * time.Second,
		&o.DialTimeout:           10 * time.Second,
		&o.TLSHandshakeTimeout:   10 * time.Second,
		&o.ResponseHeaderTimeout: 20 * time.Second,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.http2 == nil {
		o.http2 = &silentConnections
	}
	return o
}

func (o Options) httpClient() *http.Client {
	dialer := &net.Dialer{Timeout: o.DialTimeout, KeepAlive: 30 * time.Second}
	client := &http.Client{
		Timeout: o.Timeout,
		// A redirect is an answer like any other: following it would carry credentials to a host that
		// nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout:    o.TLSHandshakeTimeout,
			ResponseHeaderTimeout:  o.ResponseHeaderTimeout,
			ForceAttemptHTTP2:      true,
			HTTP2:                  o.http2,
			MaxIdleConns:           100,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
		},
	}
	if o.Wrap != nil {
		client.Transport = o.Wrap(client.Transport)
	}
	return client
}

// parseBaseURL checks the root URL of a server that will be sent credentials.
func (o Options) parseBaseURL(op, raw string) (*url.URL, error) {
	u, err := o.parseURL(op, strings.TrimRight(raw, "/"))
	if err == nil && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "") {
		return nil, endpointError(op, "the URL holds a query or fragment; remove it")
	}
	return u, err
}

// parseURL checks a URL that credentials will be sent to. The error does not quote the URL, which may hold
// a password by mistake.
func (o Options) parseURL(op, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, endpointError(op, "the URL is empty")
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, endpointError(op, "the URL is not of the form https://host")
	case u.User != nil:
		return nil, endpointError(op, "the URL holds a user name or password; remove them")
	case !o.schemeAllowed(u):
		return nil, endpointError(op, "the URL of host %q is not https", cut(u.Hostname(), maxCode))
	default:
		return u, nil
	}
}

// schemeAllowed admits https, and http to this machine where the options say so.
func (o Options) schemeAllowed(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && o.AllowInsecureLoopback && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// sameOrigin compares scheme, host and port (RFC 6454).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	default:
		return "80"
	}
}
