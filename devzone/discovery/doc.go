// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package discovery fetches what clients and token issuers publish about
// themselves: key sets (RFC 7517), the metadata of OpenID providers, and the
// metadata documents of clients whose id is a URL. Documents are kept for a few
// minutes, and callers that need the same one at the same time share a request.
//
// Everything that comes back is bounded in size and time, a redirect is followed
// within its origin only, and errors tell what could not be fetched and why
// without repeating what the other side wrote.
package discovery
