// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package devzone runs a zone server for development and tests: the subset of
// the hosted service's wire protocol that the operator uses, together with a
// stand-in for Atlassian that it brokers.
//
// Start listens on three addresses (the zones' OAuth surface, the management
// API, the stand-in) and returns their URLs. The packages below have one job
// each: store keeps the objects, management and oauth serve them, policy
// decides, broker holds the upstream tokens, seed says what there is at the
// start, issuer relates zones to URLs, and atlassian knows nothing of zones.
//
// Everything is kept in memory. It is for development only: the seed's secrets
// are public and the listeners speak plain HTTP.
package devzone
