// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package issuer knows the URLs of the zones: which issuer belongs to a zone,
// which zone a request's Host belongs to, and where an issuer's endpoints are.
package issuer

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Paths of a zone's endpoints below its issuer.
const (
	AuthorizePath      = "/oauth/2/authorize"
	TokenPath          = "/oauth/2/token"
	RegistrationPath   = "/oauth/2/registration"
	RedirectPath       = "/oauth/2/redirect"
	RevocationPath     = "/oauth/2/revoke"
	IntrospectionPath  = "/oauth/2/introspect"
	JWKSPath           = "/openidconnect/jwks"
	UserinfoPath       = "/openidconnect/userinfo"
	OAuthMetadataPath  = "/.well-known/oauth-authorization-server"
	OpenIDMetadataPath = "/.well-known/openid-configuration"
)

// Map relates zones to issuers. The default zone has a given issuer; any other
// zone's issuer is <scheme>://<zone id>.<base host>, as in the hosted service.
type Map struct {
	zoneID string
	issuer string
	scheme string
	base   string
}

// NewMap returns the map whose default zone has the given issuer, an absolute
// http or https URL without path. The base host of the other zones is the
// issuer's host without its first label when that is the default zone's id,
// "localhost" when the host is an IP address (which takes no labels), and the
// host itself otherwise.
func NewMap(zoneID, issuer string) (*Map, error) {
	issuer = strings.TrimSuffix(issuer, "/")
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("parsing issuer: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("issuer %q must be an http or https URL with a host and nothing after it", issuer)
	}
	m := &Map{zoneID: zoneID, issuer: issuer, scheme: u.Scheme, base: u.Host}
	if rest, ok := strings.CutPrefix(u.Host, zoneID+"."); ok {
		m.base = rest
	} else if net.ParseIP(u.Hostname()) != nil {
		m.base = "localhost"
		if u.Port() != "" {
			m.base = net.JoinHostPort("localhost", u.Port())
		}
	}
	return m, nil
}

// DefaultZone is the id of the zone that answers on any host.
func (m *Map) DefaultZone() string { return m.zoneID }

// Of returns the issuer of a zone, without a trailing slash.
func (m *Map) Of(zoneID string) string {
	if zoneID == m.zoneID {
		return m.issuer
	}
	return m.scheme + "://" + zoneID + "." + m.base
}

// Zone returns the id of the zone that a Host header names with its first
// label, or the default zone's id when exists says that there is none.
func (m *Map) Zone(host string, exists func(zoneID string) bool) string {
	label, rest, ok := strings.Cut(host, ".")
	if ok && rest != "" && exists(strings.ToLower(label)) {
		return strings.ToLower(label)
	}
	return m.zoneID
}
