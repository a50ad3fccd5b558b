// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/json"
	"time"
)

// Owners of objects. What the platform owns cannot be changed or deleted.
const (
	OwnerPlatform = "platform"
	OwnerCustomer = "customer"
)

// Provider types.
const (
	ProviderExternal = "external"
	ProviderVault    = "keycard-vault"
	ProviderSTS      = "keycard-sts"
)

// Application credential types.
const (
	CredentialToken     = "token"
	CredentialPassword  = "password"
	CredentialPublicKey = "public-key"
	CredentialURL       = "url"
	CredentialPublic    = "public"
)

// Grant states.
const (
	GrantActive  = "active"
	GrantExpired = "expired"
	GrantRevoked = "revoked"
)

// Roles of a service account.
const (
	RoleManager = "zone_manager"
	RoleViewer  = "zone_viewer"
)

// Metadata is the only free-form part of an object, and it has one key.
type Metadata struct {
	DocsURL string `json:"docs_url,omitempty"`
}

// EncryptionKey names a customer's key for a zone.
type EncryptionKey struct {
	ARN  string `json:"arn"`
	Type string `json:"type"`
}

// Zone is an isolated authorization server.
type Zone struct {
	Meta
	Name                   string
	Description            *string
	RequiresInvitation     bool
	DefaultGatewayID       *string
	DefaultResourceID      *string
	UserIdentityProviderID *string
	EncryptionKey          *EncryptionKey
	LoginFlow              *string
	DCREnabled             bool
	PKCERequired           bool
	// CIMD is about clients that are named by the URL of their metadata; kept and without effect.
	CIMD ClientDocuments
	// PolicySchema is the zone's default schema version; the server's when empty.
	PolicySchema string
}

// ClientDocuments says whether clients may come along with a metadata document, and which.
type ClientDocuments struct {
	Enabled          bool     `json:"enabled"`
	AllowedClientIDs []string `json:"allowed_client_ids"`
}

// Provider issues the credentials of resources.
type Provider struct {
	Meta
	OwnerType    string
	Identifier   string
	Name         string
	Description  *string
	Type         string
	ClientID     *string
	ClientSecret *string
	Metadata     *Metadata
	Protocols    *ProviderProtocols
}

// Issuer is what the provider's tokens name as their issuer.
func (p *Provider) Issuer() string {
	if p.Protocols != nil && p.Protocols.OAuth2 != nil {
		return cmp.Or(p.Protocols.OAuth2.Issuer, p.Identifier)
	}
	return p.Identifier
}

// ProviderProtocols says how to talk to a provider.
type ProviderProtocols struct {
	OAuth2 *ProviderOAuth2 `json:"oauth2"`
	OpenID *ProviderOpenID `json:"openid"`
}

// ProviderOAuth2 describes an upstream OAuth server.
type ProviderOAuth2 struct {
	Issuer                         string            `json:"issuer"`
	AuthorizationEndpoint          *string           `json:"authorization_endpoint"`
	TokenEndpoint                  *string           `json:"token_endpoint"`
	RegistrationEndpoint           *string           `json:"registration_endpoint"`
	JWKSURI                        *string           `json:"jwks_uri"`
	AuthorizationParameters        map[string]string `json:"authorization_parameters"`
	AuthorizationResourceEnabled   *bool             `json:"authorization_resource_enabled"`
	AuthorizationResourceParameter *string           `json:"authorization_resource_parameter"`
	CodeChallengeMethodsSupported  []string          `json:"code_challenge_methods_supported"`
	ScopeParameter                 *string           `json:"scope_parameter"`
	ScopeSeparator                 *string           `json:"scope_separator"`
	ScopesSupported                []string          `json:"scopes_supported"`
	AccessTokenPointer             *string           `json:"token_response_access_token_pointer"`
}

// ProviderOpenID describes sign-in with a provider.
type ProviderOpenID struct {
	UserIdentifierClaim *string `json:"user_identifier_claim"`
	UserinfoEndpoint    *string `json:"userinfo_endpoint"`
	// Scopes are asked for in place of the usual ones.
	Scopes []string `json:"scopes"`
}

// Resource is an API that tokens are issued for.
type Resource struct {
	Meta
	OwnerType                 string
	Identifier                string
	Name                      string
	Description               *string
	ApplicationID             *string
	ApplicationType           string
	CredentialProviderID      *string
	CredentialLifetimeSeconds *int64
	Metadata                  *Metadata
	Prefix                    bool
	Scopes                    []string
}

// Application is a client of the zone.
type Application struct {
	Meta
	OwnerType   string
	Identifier  string
	Name        string
	Description *string
	Consent     string
	// Traits say what kind of application it is: gateway, mcp-provider.
	Traits    []string
	Metadata  *Metadata
	Protocols *ApplicationProtocols
	// SeedDependencies are identifiers of resources that the application comes
	// to depend on when they are registered.
	SeedDependencies []string
	// SeedGrants are the resources that the application may use as itself,
	// through an account of its own at the provider.
	SeedGrants []Consent
}

// ApplicationProtocols says how an application signs users in.
type ApplicationProtocols struct {
	OAuth2 *ApplicationOAuth2 `json:"oauth2"`
}

// ApplicationOAuth2 lists where the zone may send a browser back to.
type ApplicationOAuth2 struct {
	RedirectURIs           []string `json:"redirect_uris"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris"`
}

// Credential lets an application authenticate at the token endpoint.
type Credential struct {
	Meta
	ApplicationID string
	Type          string
	// Identifier is the OAuth client_id, except for tokens.
	Identifier string
	// Password is set for passwords only; the password itself is not kept.
	Password   Digest
	JWKSURI    string
	ProviderID string
	Subject    *string
}

// Dependency lets an application use a resource.
type Dependency struct {
	Meta
	ApplicationID string
	ResourceID    string
	// WhenAccessing lists the ids of the resources through which the
	// dependency may be used; empty means always.
	WhenAccessing []string
}

// Grant is a user's (or an application's own) consent to a resource of an
// external provider, with the upstream tokens that came of it.
type Grant struct {
	Meta
	// UserID is empty when the grant is an application's own.
	UserID        string
	ApplicationID string
	ResourceID    string
	ProviderID    string
	Scopes        []string
	Status        string
	ExpiresAt     time.Time
	RefreshedAt   *time.Time

	AccessToken     string
	AccessExpiresAt time.Time
	RefreshToken    string
}

// User is a person known to the zone.
type User struct {
	Meta
	Identifier string
	Email      string
	// EmailUnverified is true when who signs the person in does not vouch for the
	// address.
	EmailUnverified bool
	// Groups are for access policies.
	Groups []string
	// PasswordHash is bcrypt's; empty for one who does not sign in here.
	PasswordHash string
	// ProviderID, Issuer and Subject tell who signs the person in; empty for
	// users of the zone's own.
	ProviderID string
	Issuer     string
	Subject    string
	// Consents are given by a seed and not used up yet.
	Consents []Consent
}

// Consent says that an account will approve access to a resource when asked.
type Consent struct {
	// Resource is a resource identifier.
	Resource string
	// Account is the e-mail address of the account at the provider.
	Account string
	// Sites are the URLs of the sites to choose; empty means all.
	Sites []string
}

// ServiceAccount may call the management API.
type ServiceAccount struct {
	Meta
	Name         string
	Description  *string
	ClientID     string
	ClientSecret Digest
	// Role is RoleManager or RoleViewer.
	Role string
}

// APIToken is a bearer token of the management API.
type APIToken struct {
	Meta
	Token     Digest
	AccountID string
	ExpiresAt time.Time
}

func (t *APIToken) key() string   { return DigestKey(t.Token) }
func (t *APIToken) label() string { return "" }

// Origin is the one row that says what the store was filled with when it was
// new.
type Origin struct {
	Meta
	// Issuer is the default zone's.
	Issuer string
	// Seed is the seed as JSON.
	Seed json.RawMessage
}

func (o *Origin) key() string   { return "origin" }
func (o *Origin) label() string { return "" }

func (z *Zone) key() string           { return "" }
func (p *Provider) key() string       { return p.Identifier }
func (r *Resource) key() string       { return r.Identifier }
func (a *Application) key() string    { return a.Identifier }
func (d *Dependency) key() string     { return DependencyKey(d.ApplicationID, d.ResourceID) }
func (g *Grant) key() string          { return GrantKey(g.UserID, g.ApplicationID, g.ResourceID) }
func (u *User) key() string           { return u.Identifier }
func (s *ServiceAccount) key() string { return s.ClientID }

func (c *Credential) key() string {
	if c.Type != CredentialToken {
		return c.Identifier
	}
	subject := "*"
	if c.Subject != nil {
		subject = *c.Subject
	}
	// A NUL keeps token credentials apart from client ids, which cannot hold one.
	return c.ApplicationID + "\x00" + c.ProviderID + "\x00" + subject
}

func (d *Dependency) group() string { return d.ApplicationID }

// group is whose tokens a credential accepts: those of any subject of a
// platform, or of one; empty for credentials of other types.
func (c *Credential) group() string {
	if c.Subject == nil {
		return c.ProviderID
	}
	return subjectGroup(c.ProviderID, *c.Subject)
}

func subjectGroup(providerID, subject string) string { return providerID + "\x00" + subject }

// Trusting returns the token credentials that accept a provider's tokens with
// the subject.
func (tx *Tx) Trusting(zoneID, providerID, subject string) []Credential {
	return append(tx.Credentials.Of(zoneID, subjectGroup(providerID, subject)), tx.Credentials.Of(zoneID, providerID)...)
}

func (z *Zone) label() string           { return z.Name }
func (p *Provider) label() string       { return p.Name }
func (r *Resource) label() string       { return r.Name }
func (a *Application) label() string    { return a.Name }
func (c *Credential) label() string     { return c.Type }
func (d *Dependency) label() string     { return "" }
func (g *Grant) label() string          { return "" }
func (u *User) label() string           { return u.Identifier }
func (s *ServiceAccount) label() string { return s.ClientID }

// DependencyKey is the unique key of a dependency.
func DependencyKey(applicationID, resourceID string) string {
	return applicationID + "\x00" + resourceID
}

// GrantKey is the unique key of a grant: one per user and resource, or one per
// application and resource for an application's own.
func GrantKey(userID, applicationID, resourceID string) string {
	return userID + "\x00" + applicationID + "\x00" + resourceID
}
