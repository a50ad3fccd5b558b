// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// OrganizationID is the id of the one organization that there is.
const OrganizationID = "org-devzone"

// Organization is what all zones belong to.
type Organization struct {
	Meta
	Name string
}

// AccountCredential is a client id and secret of a service account, besides the
// one that a seeded account has of its own.
type AccountCredential struct {
	Meta
	AccountID    string
	Name         string
	Description  *string
	ClientID     string
	ClientSecret Digest
	LastUsedAt   *time.Time
}

// Member is a person of the organization who may manage a zone.
type Member struct {
	Meta
	OrganizationUserID string
	// Role is RoleManager or RoleViewer.
	Role string
}

// Secret types.
const (
	SecretToken    = "token"
	SecretPassword = "password"
)

// Secret is a value that the zone keeps for something in it.
type Secret struct {
	Meta
	// EntityID is what the secret belongs to.
	EntityID    string
	Name        string
	Description *string
	// Type is SecretToken or SecretPassword.
	Type string
	Data SecretData
	// Version grows with each change of the data.
	Version int
}

// SecretData is the value: a token, or a user name with a password.
type SecretData struct {
	Type     string `json:"type"`
	Token    string `json:"token,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

func (o *Organization) key() string      { return "" }
func (c *AccountCredential) key() string { return c.ClientID }
func (m *Member) key() string            { return m.OrganizationUserID }
func (s *Secret) key() string            { return "" }

func (o *Organization) label() string      { return o.Name }
func (c *AccountCredential) label() string { return c.Name }
func (m *Member) label() string            { return "" }
func (s *Secret) label() string            { return s.Name }

// DeleteServiceAccount removes a service account with its credentials and
// tokens.
func (tx *Tx) DeleteServiceAccount(id string) error {
	if err := tx.ServiceAccounts.Delete("", id); err != nil {
		return err
	}
	tx.AccountCredentials.deleteAll("", func(c AccountCredential) bool { return c.AccountID == id })
	tx.APITokens.deleteAll("", func(t APIToken) bool { return t.AccountID == id })
	return nil
}
