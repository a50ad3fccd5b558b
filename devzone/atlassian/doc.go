// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package atlassian stands in for Atlassian's OAuth 2.0 (3LO) server and the
// part of the Confluence Cloud REST API that integrations read: authorize page
// with user and site choice, rotating refresh tokens, accessible resources,
// spaces and pages with cursor pagination, and the error bodies that clients
// have to tell apart.
//
// auth.atlassian.com and api.atlassian.com have no path in common, so one
// handler serves both.
package atlassian
