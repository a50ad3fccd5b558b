// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oauth serves the OAuth surface of the development zones: the two
// metadata documents, the JWKS, the token endpoint, revocation (RFC 7009),
// introspection (RFC 7662), registration (RFC 7591) and userinfo.
//
// The token endpoint knows the authorization code, the refresh token, client
// credentials and token exchange (RFC 8693), including impersonation by
// substitute user. Clients authenticate with a secret, with a JWT of their own,
// or with a token that their platform issued to them; public ones name
// themselves. The authorization endpoint is another package's: it leaves codes
// and sessions in the store.
//
// Errors carry the codes and wording of the hosted service, whose HTTP status
// is not documented: this server answers 400, 401 for invalid_client, and 5xx
// where the zone or a provider is at fault. Besides error and
// error_description a body has requestId, which the zone's records repeat.
package oauth
