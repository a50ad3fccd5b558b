// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package seed describes what a development zone starts with: a YAML file that
// is checked strictly, so that a misspelt field is an error and not a surprise.
package seed

import (
	_ "embed"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
)

// IssuerPlaceholder stands for the default zone's issuer in a seed's URLs,
// because the issuer is known only once the server listens.
const IssuerPlaceholder = "{issuer}"

//go:embed default.yaml
var defaultYAML []byte

// Seed is everything that the server starts with.
type Seed struct {
	Zone            Zone             `json:"zone"`
	ServiceAccounts []ServiceAccount `json:"serviceAccounts,omitempty"`
	Users           []User           `json:"users,omitempty"`
	Providers       []Provider       `json:"providers,omitempty"`
	Resources       []Resource       `json:"resources,omitempty"`
	Applications    []Application    `json:"applications,omitempty"`
	// Policies are added to the platform's access policies.
	Policies  []Policy       `json:"policies,omitempty"`
	Atlassian atlassian.Data `json:"atlassian"`
}

// Policy is an access policy in Cedar.
type Policy struct {
	Name  string `json:"name"`
	Cedar string `json:"cedar"`
}

// Zone is the zone that answers on any host.
type Zone struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// IdentityProvider is the identifier of the provider that signs people in;
	// the zone's own users sign in with their passwords when absent.
	IdentityProvider string `json:"identityProvider,omitempty"`
	// RequiresInvitation admits only the seed's users when people sign in with an
	// identity provider; true when absent.
	RequiresInvitation *bool `json:"requiresInvitation,omitempty"`
}

// ServiceAccount may call the management API.
type ServiceAccount struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// Role is zone_manager (the default) or zone_viewer, which only reads.
	Role string `json:"role,omitempty"`
}

// User is a person known to the zone.
type User struct {
	// Identifier is what impersonation names; the e-mail address when absent.
	Identifier string `json:"identifier,omitempty"`
	Email      string `json:"email"`
	// Groups are for access policies.
	Groups []string `json:"groups,omitempty"`
	// Password is for signing in with a browser. A user without one can't.
	Password string `json:"password,omitempty"`
	// PasswordHash is a bcrypt hash instead of the password.
	PasswordHash string `json:"passwordHash,omitempty"`
	// Consents are approved on the user's behalf when first needed.
	Consents []Consent `json:"consents,omitempty"`
}

// Consent says that an account approves access to a resource when asked.
type Consent struct {
	// Resource is a resource identifier. The resource may be registered later.
	Resource string `json:"resource"`
	// Account is the e-mail address at the provider; the user's own when
	// absent, and required for an application.
	Account string `json:"account,omitempty"`
	// Sites are the URLs of the sites to choose; all of the account's when
	// absent.
	Sites []string `json:"sites,omitempty"`
}

// Provider is an upstream OAuth server registered from the start.
type Provider struct {
	Identifier              string            `json:"identifier"`
	Name                    string            `json:"name"`
	ClientID                string            `json:"client_id"`
	ClientSecret            string            `json:"client_secret"`
	AuthorizationEndpoint   string            `json:"authorizationEndpoint,omitempty"`
	TokenEndpoint           string            `json:"tokenEndpoint,omitempty"`
	AuthorizationParameters map[string]string `json:"authorizationParameters,omitempty"`
	// OpenID is for a provider that signs people in.
	OpenID *ProviderOpenID `json:"openid,omitempty"`
}

// ProviderOpenID says how a provider signs people in.
type ProviderOpenID struct {
	// UserIdentifierClaim is the claim that names new users; the zone makes names
	// up when absent.
	UserIdentifierClaim string `json:"userIdentifierClaim,omitempty"`
	// UserinfoEndpoint takes the place of the one in the provider's metadata.
	UserinfoEndpoint string `json:"userinfoEndpoint,omitempty"`
}

// Resource is an API registered from the start.
type Resource struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
	// Provider is the identifier of the credential provider; the zone itself
	// when absent.
	Provider string `json:"provider,omitempty"`
	// Application is the identifier of the application that provides the
	// resource.
	Application string   `json:"application,omitempty"`
	Prefix      bool     `json:"prefix,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
}

// Application is a client of the zone.
type Application struct {
	Identifier  string       `json:"identifier"`
	Name        string       `json:"name"`
	Consent     string       `json:"consent,omitempty"`
	Credentials []Credential `json:"credentials,omitempty"`
	// Dependencies are resource identifiers. A dependency on a resource that
	// does not exist yet takes effect when it is registered.
	Dependencies []string `json:"dependencies,omitempty"`
	// RedirectURIs are where the application's sign-in may lead to.
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// MayImpersonate are user identifiers.
	MayImpersonate []string `json:"mayImpersonate,omitempty"`
	// Grants are resources that the application may use as itself.
	Grants []Consent `json:"grants,omitempty"`
}

// Credential is a password of an application, or says that it has none.
type Credential struct {
	// Type is password or public.
	Type string `json:"type"`
	// Identifier is the OAuth client_id.
	Identifier string `json:"identifier"`
	// Password is for the type password.
	Password string `json:"password,omitempty"`
}

// Parse reads and checks a seed. An unknown field, a duplicate key and a
// reference to nothing are errors that name what is wrong.
func Parse(data []byte) (*Seed, error) {
	var s Seed
	if err := yaml.UnmarshalStrict(data, &s); err != nil {
		return nil, fmt.Errorf("parsing seed: %w", err)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &s, nil
}

// Default returns a fresh copy of the seed that the server has when none is
// given.
func Default() *Seed {
	s, err := Parse(defaultYAML)
	if err != nil {
		panic(fmt.Sprintf("the embedded seed: %v", err))
	}
	return s
}

// DefaultYAML returns the text of the default seed.
func DefaultYAML() []byte { return append([]byte(nil), defaultYAML...) }

// WithIssuer returns a copy with the placeholder replaced in the URLs that may
// hold it: callbacks, endpoints and identifiers of the zone's objects.
func (s *Seed) WithIssuer(issuer string) *Seed {
	put := func(text string) string { return strings.ReplaceAll(text, IssuerPlaceholder, issuer) }
	out := *s
	out.Atlassian.Apps = append([]atlassian.App(nil), s.Atlassian.Apps...)
	for i := range out.Atlassian.Apps {
		out.Atlassian.Apps[i].Callback = put(out.Atlassian.Apps[i].Callback)
	}
	out.Resources = append([]Resource(nil), s.Resources...)
	for i := range out.Resources {
		out.Resources[i].Identifier = put(out.Resources[i].Identifier)
	}
	out.Applications = append([]Application(nil), s.Applications...)
	for i := range out.Applications {
		dependencies := append([]string(nil), out.Applications[i].Dependencies...)
		for j := range dependencies {
			dependencies[j] = put(dependencies[j])
		}
		out.Applications[i].Dependencies = dependencies
	}
	return &out
}
