// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// upstreamTimeout bounds one request to a provider.
const upstreamTimeout = 15 * time.Second

// mapped sends requests for an origin to another address. The Host header keeps
// the original name, as it would behind a proxy.
type mapped struct {
	origins map[string]*url.URL
	next    http.RoundTripper
}

// NewClient returns a client that sends requests for the origins (such as
// https://auth.atlassian.com) to the mapped base URLs and all others where they
// belong. CAs are trusted instead of the system's, unless nil. It does not follow redirects: none may carry credentials along, and
// the authorization flow has to see them.
func NewClient(upstreams map[string]string, cas *x509.CertPool) (*http.Client, error) {
	m := mapped{origins: map[string]*url.URL{}, next: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
	}}
	for from, to := range upstreams {
		origin, err := parseOrigin(from)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", from, err)
		}
		target, err := parseOrigin(to)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: target %q: %w", from, to, err)
		}
		m.origins[origin.Scheme+"://"+origin.Host] = target
	}
	return &http.Client{
		Transport:     m,
		Timeout:       upstreamTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func parseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return nil, fmt.Errorf("must be an http or https URL with a host and nothing after it")
	}
	return u, nil
}

// RoundTrip sends the request to where its origin is mapped.
func (m mapped) RoundTrip(r *http.Request) (*http.Response, error) {
	target, ok := m.origins[r.URL.Scheme+"://"+r.URL.Host]
	if !ok {
		return m.next.RoundTrip(r)
	}
	out := r.Clone(r.Context())
	out.Host = r.URL.Host
	out.URL.Scheme, out.URL.Host = target.Scheme, target.Host
	return m.next.RoundTrip(out)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (m mapped) CloseIdleConnections() {
	if t, ok := m.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Locate returns a function that tells where a browser finds a URL: an origin
// that is mapped is replaced, because the browser does not know of the mapping.
// Targets that NewClient has refused are left as they are.
func Locate(upstreams map[string]string) func(target string) string {
	return func(target string) string {
		for from, to := range upstreams {
			if rest, ok := strings.CutPrefix(target, strings.TrimSuffix(from, "/")); ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
				return strings.TrimSuffix(to, "/") + rest
			}
		}
		return target
	}
}
