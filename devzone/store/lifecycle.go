// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
)

// InUseError says that an object cannot be deleted because others refer to it.
type InUseError struct {
	// Kind and By name the object and its users in words.
	Kind, By string
	// Count is how many refer to it.
	Count int
}

// Error names the users and the remedy.
func (e *InUseError) Error() string {
	return fmt.Sprintf("the %s is still used by %d %s: delete or change those first", e.Kind, e.Count, e.By)
}

// CreateZone adds a zone with what the platform puts into each: the provider
// of type keycard-sts. The issuer is that provider's identifier.
func (tx *Tx) CreateZone(z Zone, issuer func(zoneID string) string) (Zone, error) {
	z, err := tx.Zones.Insert(z)
	if err != nil {
		return z, err
	}
	_, err = tx.Providers.Insert(Provider{
		Meta:       Meta{ZoneID: z.ID},
		OwnerType:  OwnerPlatform,
		Identifier: issuer(z.ID),
		Name:       "Zone Provider",
		Type:       ProviderSTS,
	})
	return z, err
}

// DeleteZone removes a zone and everything in it.
func (tx *Tx) DeleteZone(id string) error {
	if err := tx.Zones.Delete("", id); err != nil {
		return err
	}
	for _, t := range tx.journal.tables {
		t.clear(id)
	}
	return nil
}

// CreateResource adds a resource and the dependencies that seeded
// applications were promised on it.
func (tx *Tx) CreateResource(r Resource) (Resource, error) {
	r, err := tx.Resources.Insert(r)
	if err != nil {
		return r, err
	}
	waiting := tx.Applications.All(r.ZoneID, func(a Application) bool {
		return slices.Contains(a.SeedDependencies, r.Identifier)
	})
	for _, app := range waiting {
		if err := tx.Depend(r.ZoneID, app.ID, r.ID, nil); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Depend makes an application depend on a resource, or changes when it does.
func (tx *Tx) Depend(zoneID, applicationID, resourceID string, whenAccessing []string) error {
	row, found := tx.Dependencies.Find(zoneID, DependencyKey(applicationID, resourceID))
	row.WhenAccessing = whenAccessing
	if found {
		_, err := tx.Dependencies.Replace(row)
		return err
	}
	row.ZoneID, row.ApplicationID, row.ResourceID = zoneID, applicationID, resourceID
	_, err := tx.Dependencies.Insert(row)
	return err
}

// DependencyIdentifiers returns the identifiers of the resources that an
// application depends on.
func (tx *Tx) DependencyIdentifiers(zoneID, applicationID string) []string {
	var out []string
	for _, d := range tx.Dependencies.Of(zoneID, applicationID) {
		if r, err := tx.Resources.Get(zoneID, d.ResourceID); err == nil {
			out = append(out, r.Identifier)
		}
	}
	return out
}

// DeleteProvider removes a provider that no resource, credential or grant uses.
func (tx *Tx) DeleteProvider(zoneID, id string) error {
	used := tx.Resources.All(zoneID, func(r Resource) bool {
		return r.CredentialProviderID != nil && *r.CredentialProviderID == id
	})
	if len(used) > 0 {
		return &InUseError{Kind: "provider", By: "resources", Count: len(used)}
	}
	creds := tx.Credentials.All(zoneID, func(c Credential) bool { return c.ProviderID == id })
	if len(creds) > 0 {
		return &InUseError{Kind: "provider", By: "application credentials", Count: len(creds)}
	}
	if err := tx.Providers.Delete(zoneID, id); err != nil {
		return err
	}
	tx.Grants.deleteAll(zoneID, func(g Grant) bool { return g.ProviderID == id })
	return nil
}

// DeleteResource removes a resource with its dependencies and grants.
func (tx *Tx) DeleteResource(zoneID, id string) error {
	if err := tx.Resources.Delete(zoneID, id); err != nil {
		return err
	}
	tx.Dependencies.deleteAll(zoneID, func(d Dependency) bool { return d.ResourceID == id })
	tx.Grants.deleteAll(zoneID, func(g Grant) bool { return g.ResourceID == id })
	return nil
}

// DeleteApplication removes an application that owns no resource, with its
// credentials, dependencies and own grants.
func (tx *Tx) DeleteApplication(zoneID, id string) error {
	owned := tx.Resources.All(zoneID, func(r Resource) bool {
		return r.ApplicationID != nil && *r.ApplicationID == id
	})
	if len(owned) > 0 {
		return &InUseError{Kind: "application", By: "resources", Count: len(owned)}
	}
	if err := tx.Applications.Delete(zoneID, id); err != nil {
		return err
	}
	tx.Credentials.deleteAll(zoneID, func(c Credential) bool { return c.ApplicationID == id })
	tx.Dependencies.deleteAll(zoneID, func(d Dependency) bool { return d.ApplicationID == id })
	tx.Grants.deleteAll(zoneID, func(g Grant) bool { return g.ApplicationID == id })
	tx.Sessions.deleteAll(zoneID, func(s Session) bool { return s.ApplicationID == id })
	tx.Codes.deleteAll(zoneID, func(c Code) bool { return c.ApplicationID == id })
	tx.UserAgents.deleteAll(zoneID, func(u UserAgent) bool { return u.ApplicationID == id })
	tx.Interactions.deleteAll(zoneID, func(i Interaction) bool { return i.ApplicationID == id })
	tx.Approvals.deleteAll(zoneID, func(a Approval) bool { return a.ApplicationID == id })
	return nil
}
