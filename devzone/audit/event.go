// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit keeps the log of what happened in the zones: every token that
// was asked for, every sign-in, consent and connection, and every change through
// the management API, granted or refused. It can be added to and read, not
// changed. It holds no token and no secret.
package audit

import "time"

// Types of events. A change through the management API has a type of its own:
// the collection and the verb, such as providers:update.
const (
	IssueCredentials = "credentials:issue"
	SignIn           = "users:authorize"
	Consent          = "consents:create"
	Connect          = "delegated_grants:create"
)

// Outcomes.
const (
	Success = "success"
	Failure = "failure"
)

// Event is one entry. Of what does not apply, nothing is set.
type Event struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	ZoneID string    `json:"zone_id"`
	Type   string    `json:"type"`
	// Outcome is Success or Failure.
	Outcome string `json:"outcome"`
	// Error is the error code of a failure, and Description its text.
	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
	// RequestID is the one in the answer's X-Request-Id and in an error body.
	RequestID string `json:"request_id,omitempty"`
	// CorrelationID and UserAgent are what the client sent along.
	CorrelationID string `json:"correlation_id,omitempty"`
	UserAgent     string `json:"user_agent,omitempty"`

	Actor       Actor   `json:"actor"`
	Impersonate bool    `json:"impersonate,omitempty"`
	GrantType   string  `json:"grant_type,omitempty"`
	Target      Target  `json:"target"`
	Policy      *Policy `json:"policy,omitempty"`
	SessionID   string  `json:"session_id,omitempty"`
	// TokenID is the jti of a token that the zone signed.
	TokenID string `json:"token_id,omitempty"`
}

// Actor is who did it, by the identifiers that people know.
type Actor struct {
	Application string `json:"application,omitempty"`
	ClientID    string `json:"client_id,omitempty"`
	User        string `json:"user,omitempty"`
	// Workload is the subject of a workload identity.
	Workload string `json:"workload,omitempty"`
	// ServiceAccount is the client id of a caller of the management API.
	ServiceAccount string `json:"service_account,omitempty"`
}

// Target is what it was done to: a resource with scopes, or an object of the
// zone.
type Target struct {
	Resource        string   `json:"resource,omitempty"`
	RequestedScopes []string `json:"requested_scopes,omitempty"`
	GrantedScopes   []string `json:"granted_scopes,omitempty"`
	// Collection, ID and Identifier name an object of the management API.
	Collection string `json:"collection,omitempty"`
	ID         string `json:"id,omitempty"`
	Identifier string `json:"identifier,omitempty"`
}

// Policy tells which policies decided.
type Policy struct {
	Set         string   `json:"set"`
	Version     int      `json:"version"`
	Determining []string `json:"determining,omitempty"`
	// Decision is allow or deny.
	Decision string `json:"decision"`
	// ShadowDecision is what the zone's shadow set said, if it has one.
	ShadowDecision string `json:"shadow_decision,omitempty"`
	// Errors are policies that could not be evaluated.
	Errors []string `json:"errors,omitempty"`
}
