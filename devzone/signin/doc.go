// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package signin is the browser's side of a zone: the authorization endpoint
// (RFC 6749, section 3.1, with PKCE), the pages on which a person signs in and
// consents, the way to the providers of the resources and back, and the
// authorization code at the end, which package oauth redeems.
//
// An authorize request becomes an interaction that lives for ten minutes. It is
// bound to the browser that made it by a cookie, so that neither a link nor a
// form from elsewhere can continue it.
package signin
