// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oauth serves the OAuth surface of the development zones: the two
// metadata documents, the JWKS and the token endpoint with client_credentials
// and token exchange (RFC 8693), including impersonation by substitute user.
//
// Errors carry the codes and wording of the hosted service, whose HTTP status
// is not documented: this server answers 400, 401 for invalid_client, and 5xx
// where the zone or a provider is at fault. Besides error and
// error_description a body has requestId, which the zone's records repeat.
package oauth
