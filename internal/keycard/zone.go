// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/url"
	"strings"
)

// Zone is a Keycard zone (/zones/{zone}).
type Zone struct {
	ID             string `json:"id"`
	OrganizationID string `json:"organization_id"`
	Slug           string `json:"slug"`
	Name           string `json:"name"`
	Description    string `json:"description"`
	// CreatedAt is a timestamp as the zone writes it.
	CreatedAt string        `json:"created_at"`
	Protocols ZoneProtocols `json:"protocols"`
}

func (z Zone) objectID() string { return z.ID }

// ZoneProtocols holds the protocol settings of a zone.
type ZoneProtocols struct {
	OAuth2 ZoneOAuth2 `json:"oauth2"`
}

// ZoneOAuth2 are the zone's OAuth endpoints as the management API reports them. Tokens are asked for at the
// endpoint that discovery finds, see ZoneClient.
type ZoneOAuth2 struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	// RedirectURI is the callback URL that an upstream OAuth app has to register.
	RedirectURI string `json:"redirect_uri"`
}

// GetZone reads the zone; IsNotFound tells when it does not exist.
func (m *ManagementClient) GetZone(ctx context.Context, zoneID string) (Zone, error) {
	return get[Zone](ctx, m, "getting the zone", "zones", zoneID)
}

// Statuses of a delegated grant.
const (
	GrantActive  = "active"
	GrantExpired = "expired"
	GrantRevoked = "revoked"
)

// Grant is a person's consent to one resource (/zones/{zone}/delegated-grants). All applications of the
// zone share it.
type Grant struct {
	ID         string   `json:"id"`
	UserID     string   `json:"user_id"`
	ResourceID string   `json:"resource_id"`
	ProviderID string   `json:"provider_id"`
	Scopes     []string `json:"scopes"`
	Status     string   `json:"status"`
	// RefreshTokenSet is false for a grant that dies with its first access token.
	RefreshTokenSet bool `json:"refresh_token_set"`
	// CreatedAt and UpdatedAt are timestamps as the zone writes them.
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (g Grant) objectID() string { return g.ID }

// GrantFilter narrows ListGrants; empty members match everything.
type GrantFilter struct{ UserID, ResourceID, Status string }

// ListGrants returns the delegated grants that match the filter.
func (m *ManagementClient) ListGrants(ctx context.Context, zoneID string, f GrantFilter) ([]Grant, error) {
	query := url.Values{}
	for name, value := range map[string]string{"user_id": f.UserID, "resource_id": f.ResourceID, "status": f.Status} {
		if value != "" {
			query.Set(name, value)
		}
	}
	matches := func(want, got string) bool { return want == "" || want == got }
	return listAll(ctx, m, "listing delegated grants", query, func(g Grant) bool {
		return matches(f.UserID, g.UserID) && matches(f.ResourceID, g.ResourceID) && matches(f.Status, g.Status)
	}, "zones", zoneID, "delegated-grants")
}

// User is a person known to the zone (/zones/{zone}/users).
type User struct {
	ID string `json:"id"`
	// Identifier names the person in policies and in impersonation. It is not the email address unless the
	// zone's sign-in provider is set up so.
	Identifier    string `json:"identifier"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
}

func (u User) objectID() string { return u.ID }

// ListUsersByEmail returns the users with an email address, whatever its case. Zones without user
// pagination list their first 100 users only.
func (m *ManagementClient) ListUsersByEmail(ctx context.Context, zoneID, email string) ([]User, error) {
	const op = "listing users"
	if email == "" {
		return nil, misconfigured(op, "the email address is empty")
	}
	return newListing(m, op, url.Values{"filter[email]": {email}},
		func(u User) bool { return strings.EqualFold(u.Email, email) }, "zones", zoneID, "users").all(ctx, few)
}

// GetUser reads one user; IsNotFound tells when there is none with that id.
func (m *ManagementClient) GetUser(ctx context.Context, zoneID, id string) (User, error) {
	return get[User](ctx, m, "getting the user", "zones", zoneID, "users", id)
}
