// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	opMetadata  = "reading the zone's metadata"
	metadataTTL = time.Hour

	// maxEndpoint bounds each URL, because they are kept for every zone. Browsers and servers stop at about as much.
	maxEndpoint = 2 << 10
)

// ServerMetadata is what the operator uses of an authorization server's metadata (RFC 8414 section 2).
type ServerMetadata struct {
	Issuer string `json:"issuer"`
	// AuthorizationEndpoint is for a person's browser and may be empty. Its host may differ from the
	// issuer's: the operator sends nothing there.
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	// TokenEndpoint is always there, and on the issuer's origin.
	TokenEndpoint string `json:"token_endpoint"`
}

// parseMetadata validates a metadata document. The issuer must be the one that was asked for (a trailing
// slash aside), and the token endpoint must be on its origin, or a forged document could send
// credentials elsewhere. The error is a *Error without Op.
func (o Options) parseMetadata(body []byte, issuer *url.URL) (ServerMetadata, error) {
	var m ServerMetadata
	if err := json.Unmarshal(body, &m); err != nil {
		return ServerMetadata{}, &Error{Class: Transient, Description: "answered malformed JSON"}
	}
	if strings.TrimRight(m.Issuer, "/") != issuer.String() {
		return ServerMetadata{}, misconfigured("", "the metadata is for the issuer %q, not for this one",
			cleanDescription(m.Issuer, nil))
	}
	if err := o.checkEndpoints(m, issuer); err != nil {
		return ServerMetadata{}, err
	}
	return m, nil
}

func (o Options) checkEndpoints(m ServerMetadata, issuer *url.URL) error {
	if m.TokenEndpoint == "" {
		return misconfigured("", "the metadata has no token_endpoint")
	}
	if max(len(m.Issuer), len(m.TokenEndpoint), len(m.AuthorizationEndpoint)) > maxEndpoint {
		return endpointError("", "the metadata has a URL of more than %d bytes", maxEndpoint)
	}
	token, err := url.Parse(m.TokenEndpoint)
	if err != nil || token.User != nil || token.Fragment != "" || !sameOrigin(token, issuer) {
		return endpointError("", "the metadata's token_endpoint is not on the issuer's host %s", issuer.Host)
	}
	if m.AuthorizationEndpoint != "" {
		authorize, err := url.Parse(m.AuthorizationEndpoint)
		if err != nil || authorize.Host == "" || !o.schemeAllowed(authorize) {
			return endpointError("", "the metadata's authorization_endpoint is not an https URL")
		}
	}
	return nil
}

// discover reads the zone's metadata: the OAuth document (RFC 8414), or the OpenID one where the former
// does not exist.
func (z *ZoneClient) discover(ctx context.Context) (ServerMetadata, time.Time, error) {
	at := z.transport.options.Now()
	read := func(name string) (answer, error) {
		return z.transport.do(ctx, call{op: opMetadata, method: http.MethodGet, url: z.issuer.String() + "/.well-known/" + name})
	}
	a, err := read("oauth-authorization-server")
	if e, ok := AsError(err); ok && e.Status == http.StatusNotFound {
		a, err = read("openid-configuration")
	}
	if err != nil {
		return ServerMetadata{}, time.Time{}, err
	}
	if !json.Valid(a.body) {
		return ServerMetadata{}, time.Time{}, malformedError(opMetadata, a)
	}
	m, err := z.transport.options.parseMetadata(a.body, z.issuer)
	if e, ok := AsError(err); ok {
		e.Op, e.Status = opMetadata, a.status
		return ServerMetadata{}, time.Time{}, e
	}
	return m, at.Add(metadataTTL), nil
}

// Metadata returns the zone's metadata, from memory for an hour after it was read.
func (z *ZoneClient) Metadata(ctx context.Context) (ServerMetadata, error) {
	return z.metadata.get(ctx)
}
