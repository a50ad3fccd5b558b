// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// Interaction is an authorize request whose person is on her way through the
// pages: signing in, consenting, connecting accounts at providers.
type Interaction struct {
	Meta
	// Browser is the digest of the cookie of the browser that started it.
	Browser Digest

	// The request, checked.
	ClientID      string
	ApplicationID string
	UserAgentID   string
	// RedirectURI is where the browser goes at the end; empty for an
	// application without one, which ends on a page of the zone's.
	RedirectURI string
	// RedirectParameter is redirect_uri as it was in the request.
	RedirectParameter string
	State             string
	Nonce             string
	Challenge         string
	Scopes            []string
	Resources         []string
	Prompts           []string
	LoginHint         string

	// SessionID is the person's session, once she has signed in for this
	// request or was found signed in.
	SessionID string
	// SignedIn is true when she has signed in for this request.
	SignedIn bool
	// Consented is true when she has agreed on the consent page.
	Consented bool
	// Connected are the ids of the resources whose provider she has been to.
	Connected []string

	// Upstream is the digest of the state that a provider has to send back, and
	// UpstreamResource the id of the resource that it is for; empty while she
	// signs in with an identity provider.
	Upstream         Digest
	UpstreamResource string
	// IDNonce and IDVerifier belong to a sign-in with an identity provider.
	IDNonce    string
	IDVerifier string

	ExpiresAt time.Time
}

func (i *Interaction) key() string   { return "" }
func (i *Interaction) label() string { return "" }

// Approval remembers what a person agreed to for an application on the consent
// page.
type Approval struct {
	Meta
	UserID        string
	ApplicationID string
	Scopes        []string
	// ResourceIDs are the resources that she was shown.
	ResourceIDs []string
}

func (a *Approval) key() string   { return ApprovalKey(a.UserID, a.ApplicationID) }
func (a *Approval) label() string { return "" }

// ApprovalKey is the unique key of an approval.
func ApprovalKey(userID, applicationID string) string { return userID + "\x00" + applicationID }
