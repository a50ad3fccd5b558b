// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package management serves the management API of the development zones: the
// objects that a platform team registers, as JSON over HTTP, with the paths,
// fields, limits and errors of the hosted service.
//
// Where the hosted behaviour is not documented, this package takes the stricter
// reading, so that a client that passes here does not rely on luck:
// dependencies in an application's body are ignored (only PUT
// /applications/{id}/dependencies/{resourceId} works), metadata has no other
// key than docs_url, a limit above 100 is refused, and a provider that
// resources still use cannot be deleted (409).
package management
