// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/hex"
	"time"
)

// Session types.
const (
	SessionUser        = "user"
	SessionApplication = "application"
)

// Session states. They are those of grants.
const (
	SessionActive  = GrantActive
	SessionExpired = GrantExpired
	SessionRevoked = GrantRevoked
)

// Session is a person signed in with a browser (SessionUser), or an
// application that holds a refresh token, for a person or for itself
// (SessionApplication). The session of an application for a person is a child
// of hers and ends with it.
type Session struct {
	Meta
	Type string
	// UserID is whose session it is; empty for an application's own.
	UserID string
	// ApplicationID and ClientID are set for SessionApplication: the
	// application, and the client_id that it authenticated with.
	ApplicationID string
	ClientID      string
	// UserAgentID is set when the client was registered dynamically.
	UserAgentID string
	// ProviderID, Issuer and Subject tell who signed the person in; empty for
	// users of the zone's own.
	ProviderID string
	Issuer     string
	Subject    string
	// ParentID is the session of the person, for SessionApplication.
	ParentID string
	Status   string

	AuthenticatedAt time.Time
	ExpiresAt       time.Time

	// Cookie is the digest of the browser's cookie, for SessionUser.
	Cookie Digest
	// Refresh is the digest of the current refresh token, for
	// SessionApplication. A refresh token is "<session id>.<secret>", so that
	// one that was rotated away still names its session.
	Refresh Digest
	// RefreshFamily is the digest of the part that all refresh tokens of the
	// session have in common. One that has it but is not the current one was
	// rotated away; without it, a token is a guess.
	RefreshFamily Digest
	// Scopes and Resources are what the person agreed to; a refresh may ask for
	// less.
	Scopes    []string
	Resources []string
}

func (s *Session) key() string {
	if s.Type != SessionUser || s.Cookie == (Digest{}) {
		return ""
	}
	return DigestKey(s.Cookie)
}

func (s *Session) label() string { return "" }
func (s *Session) group() string { return s.ParentID }

// Alive tells whether the session may be used. It says nothing of its parent;
// see Tx.LiveSession.
func (s *Session) Alive(now time.Time) bool {
	return s.Status == SessionActive && now.Before(s.ExpiresAt)
}

// LiveSession returns the session with the id unless it, or the person's session
// that it belongs to, was revoked or deleted, or it has expired. A browser's
// session that merely expires does not end what applications were given.
func (tx *Tx) LiveSession(zoneID, id string, now time.Time) (Session, bool) {
	s, err := tx.Sessions.Get(zoneID, id)
	if err != nil || !s.Alive(now) {
		return s, false
	}
	if s.ParentID == "" {
		return s, true
	}
	parent, err := tx.Sessions.Get(zoneID, s.ParentID)
	return s, err == nil && parent.Status != SessionRevoked
}

// RevokeSession ends a session and those that belong to it. Their refresh tokens
// and cookies are of no use afterwards.
func (tx *Tx) RevokeSession(zoneID, id string) (Session, error) {
	s, err := tx.Sessions.Get(zoneID, id)
	if err != nil {
		return s, err
	}
	for _, one := range append(tx.Sessions.Of(zoneID, id), s) {
		if one.Status == SessionRevoked {
			continue
		}
		one.Status = SessionRevoked
		if one, err = tx.Sessions.Replace(one); err != nil {
			return s, err
		}
		if one.ID == id {
			s = one
		}
	}
	return s, nil
}

// DeleteSession removes a session and those that belong to it.
func (tx *Tx) DeleteSession(zoneID, id string) error {
	if err := tx.Sessions.Delete(zoneID, id); err != nil {
		return err
	}
	for _, child := range tx.Sessions.Of(zoneID, id) {
		if err := tx.Sessions.Delete(zoneID, child.ID); err != nil {
			return err
		}
	}
	return nil
}

// DigestKey is the unique key of what is found by the digest of a secret.
func DigestKey(secret Digest) string { return hex.EncodeToString(secret[:]) }

// Code is an authorization code (RFC 6749, section 4.1) that waits to be
// redeemed, or was redeemed and is kept until it expires, so that a replay is
// noticed.
type Code struct {
	Meta
	// Value is the digest of the code.
	Value Digest
	// ClientID is the client_id of the authorize request.
	ClientID      string
	ApplicationID string
	UserAgentID   string
	UserID        string
	// SessionID is the person's session.
	SessionID string
	// RedirectURI is the parameter of the authorize request, to be repeated at
	// the token endpoint.
	RedirectURI string
	// Challenge is the S256 code_challenge (RFC 7636); empty when the zone does
	// not require one and the client sent none.
	Challenge string
	Scopes    []string
	// Resources are the resource parameters in their order; the first is what
	// the token is for.
	Resources []string
	Nonce     string
	ExpiresAt time.Time
	// IssuedID is the application session that the code was redeemed for.
	IssuedID string
	Redeemed bool
}

func (c *Code) key() string   { return DigestKey(c.Value) }
func (c *Code) label() string { return "" }

// UserAgent is a client that registered itself (RFC 7591).
type UserAgent struct {
	Meta
	// Identifier is the client_id, "ua:" and a SHA-256 in hexadecimal.
	Identifier   string
	Name         string
	RedirectURIs []string
	// ApplicationID is the application that stands for the client in policies
	// and dependencies.
	ApplicationID string
}

func (u *UserAgent) key() string   { return u.Identifier }
func (u *UserAgent) label() string { return u.Name }

// SigningKey is a zone's private key for the tokens that it signs.
type SigningKey struct {
	Meta
	// JWK is the private key as a JSON Web Key.
	JWK string
}

func (k *SigningKey) key() string   { return "signing" }
func (k *SigningKey) label() string { return "" }
