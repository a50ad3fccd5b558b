// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package seed

import (
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Names of the set with the seed's policies, and of the policy that is made
// from mayImpersonate.
const (
	seedSet             = "seed-zone-policies"
	impersonationPolicy = "seed-impersonation"
)

// Load returns the seed that a store was filled with and the issuer that its
// zone had then, or nil for an empty store.
func Load(st *store.Store) (s *Seed, issuer string, err error) {
	err = st.View(func(tx *store.Tx) error {
		for _, origin := range tx.Origins.All("", nil) {
			issuer, s = origin.Issuer, &Seed{}
			if err := json.Unmarshal(origin.Seed, s); err != nil {
				return fmt.Errorf("decoding the seed in the data: %w", err)
			}
		}
		return nil
	})
	return s, issuer, err
}

// Apply puts the zone's part of a valid seed into an empty store, and the seed
// itself. The issuer function gives a zone's issuer.
func (s *Seed) Apply(st *store.Store, issuer func(zoneID string) string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the seed: %w", err)
	}
	err = st.Do(func(tx *store.Tx) error {
		steps := []func(*store.Tx) error{
			s.applyPolicies, s.applyServiceAccounts, s.applyUsers, s.applyApplications,
			s.applyProviders, s.applyResources,
		}
		origin := store.Origin{Issuer: issuer(s.Zone.ID), Seed: text}
		if _, err := tx.Origins.Insert(origin); err != nil {
			return err
		}
		organization := store.Organization{Meta: store.Meta{ID: store.OrganizationID}, Name: "Development"}
		if _, err := tx.Organizations.Insert(organization); err != nil {
			return err
		}
		if _, err := tx.CreateZone(s.zone(), issuer); err != nil {
			return err
		}
		for _, step := range steps {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("applying seed: %w", err)
	}
	return nil
}

func (s *Seed) meta() store.Meta { return store.Meta{ZoneID: s.Zone.ID} }

func (s *Seed) zone() store.Zone {
	return store.Zone{
		Meta: store.Meta{ID: s.Zone.ID}, Name: s.Zone.Name,
		RequiresInvitation: s.Zone.RequiresInvitation == nil || *s.Zone.RequiresInvitation,
		DCREnabled:         true, PKCERequired: true,
	}
}

// applyPolicies installs the platform's policies. The seed's own are added to
// them in another set, which takes the place of the platform's.
func (s *Seed) applyPolicies(tx *store.Tx) error {
	manifest, err := policy.Install(tx, s.Zone.ID)
	if err != nil {
		return err
	}
	own := s.policies()
	if len(own) == 0 {
		return nil
	}
	added, err := policy.AddPolicies(tx, s.Zone.ID, store.OwnerCustomer, own)
	if err != nil {
		return err
	}
	return policy.AddSet(tx, s.Zone.ID, store.OwnerCustomer, seedSet, append(manifest, added...))
}

// policies are the seed's own: what mayImpersonate says in Cedar, and those
// that it spells out.
func (s *Seed) policies() []policy.Named {
	var out []policy.Named
	var impersonation strings.Builder
	for _, a := range s.Applications {
		if len(a.MayImpersonate) > 0 {
			impersonation.WriteString(policy.Impersonation(a.Identifier, a.MayImpersonate))
		}
	}
	if impersonation.Len() > 0 {
		out = append(out, policy.Named{Name: impersonationPolicy, Cedar: impersonation.String()})
	}
	for _, p := range s.Policies {
		out = append(out, policy.Named{Name: p.Name, Cedar: p.Cedar})
	}
	return out
}

func (s *Seed) applyServiceAccounts(tx *store.Tx) error {
	for _, a := range s.ServiceAccounts {
		role := a.Role
		if role == "" {
			role = store.RoleManager
		}
		row := store.ServiceAccount{Name: a.ClientID, ClientID: a.ClientID, ClientSecret: store.DigestOf(a.ClientSecret), Role: role}
		if _, err := tx.ServiceAccounts.Insert(row); err != nil {
			return err
		}
	}
	return nil
}

func (s *Seed) applyUsers(tx *store.Tx) error {
	for _, u := range s.Users {
		hash, err := u.hash()
		if err != nil {
			return err
		}
		row := store.User{PasswordHash: hash, Meta: s.meta(), Identifier: u.identifier(), Email: u.Email, Groups: u.Groups, Consents: consents(u.Consents, u.Email)}
		if _, err := tx.Users.Insert(row); err != nil {
			return err
		}
	}
	return nil
}

func consents(seeded []Consent, owner string) []store.Consent {
	var out []store.Consent
	for _, c := range seeded {
		account := c.Account
		if account == "" {
			account = owner
		}
		out = append(out, store.Consent{Resource: c.Resource, Account: account, Sites: c.Sites})
	}
	return out
}

func (s *Seed) applyApplications(tx *store.Tx) error {
	for _, a := range s.Applications {
		consent := a.Consent
		if consent == "" {
			consent = "required"
		}
		row := store.Application{
			Meta: s.meta(), OwnerType: store.OwnerCustomer,
			Identifier: a.Identifier, Name: a.Name, Consent: consent,
			SeedDependencies: a.Dependencies, SeedGrants: consents(a.Grants, ""),
		}
		if len(a.RedirectURIs) > 0 {
			row.Protocols = &store.ApplicationProtocols{OAuth2: &store.ApplicationOAuth2{RedirectURIs: a.RedirectURIs}}
		}
		app, err := tx.Applications.Insert(row)
		if err != nil {
			return err
		}
		for _, c := range a.Credentials {
			row := store.Credential{Meta: s.meta(), ApplicationID: app.ID, Type: c.Type, Identifier: c.Identifier}
			if c.Type == store.CredentialPassword {
				row.Password = store.DigestOf(c.Password)
			}
			if _, err := tx.Credentials.Insert(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Seed) applyProviders(tx *store.Tx) error {
	for _, p := range s.Providers {
		oauth2 := store.ProviderOAuth2{
			Issuer: p.Identifier, AuthorizationEndpoint: optional(p.AuthorizationEndpoint),
			TokenEndpoint: optional(p.TokenEndpoint), AuthorizationParameters: p.AuthorizationParameters,
		}
		protocols := &store.ProviderProtocols{OAuth2: &oauth2}
		if p.OpenID != nil {
			protocols.OpenID = &store.ProviderOpenID{
				UserIdentifierClaim: optional(p.OpenID.UserIdentifierClaim), UserinfoEndpoint: optional(p.OpenID.UserinfoEndpoint),
			}
		}
		_, err := tx.Providers.Insert(store.Provider{
			Meta: s.meta(), OwnerType: store.OwnerCustomer,
			Type: store.ProviderExternal, Identifier: p.Identifier, Name: p.Name,
			ClientID: optional(p.ClientID), ClientSecret: optional(p.ClientSecret),
			Protocols: protocols,
		})
		if err != nil {
			return err
		}
	}
	return s.applyIdentityProvider(tx)
}

func (s *Seed) applyIdentityProvider(tx *store.Tx) error {
	provider, found := tx.Providers.Find(s.Zone.ID, s.Zone.IdentityProvider)
	if !found {
		return nil
	}
	zone, err := tx.Zones.Get("", s.Zone.ID)
	if err != nil {
		return err
	}
	zone.UserIdentityProviderID = &provider.ID
	_, err = tx.Zones.Replace(zone)
	return err
}

// hash returns the bcrypt hash of the user's password. The cheapest cost will
// do for a password that stands in a seed as it is.
func (u User) hash() (string, error) {
	if u.Password == "" {
		return u.PasswordHash, nil
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hashing the password of %s: %w", u.Email, err)
	}
	return string(hash), nil
}

func (s *Seed) applyResources(tx *store.Tx) error {
	for _, r := range s.Resources {
		row := store.Resource{
			Meta: s.meta(), OwnerType: store.OwnerCustomer, ApplicationType: "web",
			Identifier: r.Identifier, Name: r.Name, Prefix: r.Prefix, Scopes: r.Scopes,
		}
		provider, found := tx.Providers.Find(s.Zone.ID, r.Provider)
		if !found {
			provider = tx.Providers.All(s.Zone.ID, func(p store.Provider) bool { return p.Type == store.ProviderSTS })[0]
		}
		row.CredentialProviderID = &provider.ID
		if app, ok := tx.Applications.Find(s.Zone.ID, r.Application); ok {
			row.ApplicationID = &app.ID
		}
		if _, err := tx.CreateResource(row); err != nil {
			return err
		}
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
