// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package store keeps the objects of the development zones: zones and what
// lives in them (providers, resources, applications, credentials,
// dependencies, grants, users), plus the service accounts of the management
// API.
//
// The API is narrow on purpose. All access goes through Store.Do, which runs a
// function alone against the tables and undoes its changes when it fails, so
// that persistence needs one more step in one place. Rows are values: a caller
// changes a copy and puts it back with Replace, and never writes through a
// pointer, slice or map of a row it was given.
package store
