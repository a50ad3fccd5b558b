// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package broker holds the zones' side of an upstream OAuth server: it runs the
// authorization code flow with a provider that the zone has registered, keeps
// the tokens that come of it as a grant, and refreshes them when an exchange
// needs one. It talks to the provider by HTTP alone and knows it only through
// the registered provider object.
package broker
