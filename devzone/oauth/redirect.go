// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// maxRedirectURI is the length of the longest accepted URI in bytes.
const maxRedirectURI = 2048

// redirectProblem says what is wrong with a redirect URI, or nothing: it must be
// an https URL, an http URL of a loopback address, or of a private-use scheme,
// which is a domain name in reverse (RFC 8252, section 7).
func redirectProblem(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case len(uri) > maxRedirectURI:
		return fmt.Sprintf("is longer than %d bytes", maxRedirectURI)
	case err != nil || u.Scheme == "":
		return "is no absolute URI"
	case strings.Contains(uri, "#"):
		return "must not have a fragment"
	case u.User != nil:
		return "must not have user or password"
	}
	return schemeProblem(u)
}

func schemeProblem(u *url.URL) string {
	secure := u.Scheme == "https" && u.Hostname() != ""
	local := u.Scheme == "http" && loopback(u.Hostname())
	switch {
	case secure || local || strings.Contains(u.Scheme, "."):
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return "must be https, or http on a loopback address"
	}
	return "has the scheme " + printable(u.Scheme) + ": it must be https, http on a loopback address, or a domain name in reverse"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// webURL accepts absolute http and https URLs.
func webURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
