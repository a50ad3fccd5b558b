// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package seed

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// dnsLabel is what a zone's id must be, because it is the first label of the
// zone's host.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate reports the first problem, naming the field.
func (s *Seed) Validate() error {
	if !dnsLabel.MatchString(s.Zone.ID) {
		return fmt.Errorf("seed zone.id: must be a DNS label (lower-case letters, digits and -), got %q", s.Zone.ID)
	}
	if s.Zone.Name == "" {
		return fmt.Errorf("seed zone.name: is required")
	}
	checks := []func() error{s.checkServiceAccounts, s.checkUsers, s.checkObjects, s.checkApplications, s.checkPolicies, s.checkAtlassian}
	for _, check := range checks {
		if err := check(); err != nil {
			return fmt.Errorf("seed %w", err)
		}
	}
	return nil
}

func (s *Seed) checkServiceAccounts() error {
	ids := unique{}
	for i, a := range s.ServiceAccounts {
		if a.ClientSecret == "" {
			return fmt.Errorf("serviceAccounts[%d].client_secret: is required", i)
		}
		if a.Role != "" && a.Role != store.RoleManager && a.Role != store.RoleViewer {
			return fmt.Errorf("serviceAccounts[%d].role: must be %s or %s, got %q", i, store.RoleManager, store.RoleViewer, a.Role)
		}
		if err := ids.add(a.ClientID); err != nil {
			return fmt.Errorf("serviceAccounts[%d].client_id: %w", i, err)
		}
	}
	return nil
}

func (s *Seed) checkPolicies() error {
	names := unique{}
	for i, p := range s.Policies {
		if err := names.add(p.Name); err != nil {
			return fmt.Errorf("policies[%d].name: %w", i, err)
		}
		if p.Name == impersonationPolicy {
			return fmt.Errorf("policies[%d].name: %s is the policy that mayImpersonate makes; choose another name", i, p.Name)
		}
		if policy.IsDefault(p.Name) {
			return fmt.Errorf("policies[%d].name: %s is a policy of the platform's; choose another name", i, p.Name)
		}
		if err := policy.Check(p.Cedar); err != nil {
			return fmt.Errorf("policies[%d].cedar: policy %q %w", i, p.Name, err)
		}
	}
	return nil
}

func (s *Seed) checkUsers() error {
	ids := unique{}
	for i, u := range s.Users {
		if !strings.Contains(u.Email, "@") {
			return fmt.Errorf("users[%d].email: must be an e-mail address, got %q", i, u.Email)
		}
		if err := ids.add(u.identifier()); err != nil {
			return fmt.Errorf("users[%d].identifier: %w", i, err)
		}
		if err := u.checkPassword(); err != nil {
			return fmt.Errorf("users[%d].%w", i, err)
		}
		for j, c := range u.Consents {
			if err := s.checkConsent(c, u.Email); err != nil {
				return fmt.Errorf("users[%d].consents[%d].%w", i, j, err)
			}
		}
	}
	return nil
}

func (s *Seed) checkConsent(c Consent, owner string) error {
	account := c.Account
	if account == "" {
		account = owner
	}
	if account == "" {
		return fmt.Errorf("account: is required for an application")
	}
	if c.Resource == "" {
		return fmt.Errorf("resource: is required")
	}
	for _, site := range c.Sites {
		if !s.Atlassian.HasSite(site, account) {
			return fmt.Errorf("sites: %s is no member of a site with the url %q in atlassian.sites", account, site)
		}
	}
	return nil
}

func (s *Seed) checkObjects() error {
	providers, resources := unique{}, unique{}
	for i, p := range s.Providers {
		if p.Name == "" {
			return fmt.Errorf("providers[%d].name: is required", i)
		}
		if err := providers.add(p.Identifier); err != nil {
			return fmt.Errorf("providers[%d].identifier: %w", i, err)
		}
	}
	for i, r := range s.Resources {
		if r.Name == "" {
			return fmt.Errorf("resources[%d].name: is required", i)
		}
		if err := resources.add(r.Identifier); err != nil {
			return fmt.Errorf("resources[%d].identifier: %w", i, err)
		}
		if r.Provider != "" && !providers[r.Provider] {
			return fmt.Errorf("resources[%d].provider: %q is not in providers", i, r.Provider)
		}
	}
	return s.checkIdentityProvider()
}

func (s *Seed) checkIdentityProvider() error {
	name := s.Zone.IdentityProvider
	i := slices.IndexFunc(s.Providers, func(p Provider) bool { return p.Identifier == name })
	switch {
	case name == "":
		return nil
	case i < 0:
		return fmt.Errorf("zone.identityProvider: %q is not in providers", name)
	case s.Providers[i].ClientID == "":
		return fmt.Errorf("providers[%d].client_id: is required, because zone.identityProvider names the provider", i)
	}
	return nil
}

func (u User) checkPassword() error {
	if u.Password != "" && u.PasswordHash != "" {
		return fmt.Errorf("passwordHash: must not be there together with password")
	}
	if len(u.Password) > maxPassword {
		return fmt.Errorf("password: must be at most %d bytes long", maxPassword)
	}
	if _, err := bcrypt.Cost([]byte(u.PasswordHash)); u.PasswordHash != "" && err != nil {
		return fmt.Errorf("passwordHash: is no bcrypt hash")
	}
	return nil
}

// maxPassword is the length that bcrypt takes.
const maxPassword = 72

func (s *Seed) checkApplications() error {
	users := unique{}
	for _, u := range s.Users {
		users[u.identifier()] = true
	}
	applications, clients := unique{}, unique{}
	for i, a := range s.Applications {
		if err := a.check(users, clients); err != nil {
			return fmt.Errorf("applications[%d].%w", i, err)
		}
		if err := applications.add(a.Identifier); err != nil {
			return fmt.Errorf("applications[%d].identifier: %w", i, err)
		}
		for j, g := range a.Grants {
			if err := s.checkConsent(g, ""); err != nil {
				return fmt.Errorf("applications[%d].grants[%d].%w", i, j, err)
			}
		}
	}
	for i, r := range s.Resources {
		if r.Application != "" && !applications[r.Application] {
			return fmt.Errorf("resources[%d].application: %q is not in applications", i, r.Application)
		}
	}
	return nil
}

func (a Application) check(users, clients unique) error {
	if a.Name == "" {
		return fmt.Errorf("name: is required")
	}
	if a.Consent != "" && a.Consent != "implicit" && a.Consent != "required" {
		return fmt.Errorf("consent: must be implicit or required, got %q", a.Consent)
	}
	for i, c := range a.Credentials {
		if c.Type != store.CredentialPassword && c.Type != store.CredentialPublic {
			return fmt.Errorf("credentials[%d].type: must be %s or %s, got %q", i, store.CredentialPassword, store.CredentialPublic, c.Type)
		}
		if (c.Password != "") != (c.Type == store.CredentialPassword) {
			return fmt.Errorf("credentials[%d].password: is required for the type %s, and only there", i, store.CredentialPassword)
		}
		if err := clients.add(c.Identifier); err != nil {
			return fmt.Errorf("credentials[%d].identifier: %w", i, err)
		}
	}
	for i, u := range a.MayImpersonate {
		if !users[u] {
			return fmt.Errorf("mayImpersonate[%d]: %q is not the identifier of one of users", i, u)
		}
	}
	return a.checkRedirectURIs()
}

func (a Application) checkRedirectURIs() error {
	for i, uri := range a.RedirectURIs {
		if u, err := url.Parse(uri); err != nil || !u.IsAbs() || strings.Contains(uri, "#") {
			return fmt.Errorf("redirectURIs[%d]: must be an absolute URL without a fragment, got %q", i, uri)
		}
	}
	return nil
}

func (s *Seed) checkAtlassian() error {
	// The placeholder is not a URL yet; any issuer makes it one.
	data := s.WithIssuer("https://issuer.example").Atlassian
	if err := data.Validate(); err != nil {
		return fmt.Errorf("atlassian.%w", err)
	}
	return nil
}

func (u User) identifier() string {
	if u.Identifier != "" {
		return u.Identifier
	}
	return u.Email
}

// unique finds empty and repeated names.
type unique map[string]bool

func (u unique) add(name string) error {
	if name == "" {
		return fmt.Errorf("is required")
	}
	if u[name] {
		return fmt.Errorf("%q is there twice", name)
	}
	u[name] = true
	return nil
}
