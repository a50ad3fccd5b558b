// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/http"
	"net/url"
)

// Resource is something a token can be asked for (/zones/{zone}/resources).
type Resource struct {
	ID          string `json:"id"`
	ZoneID      string `json:"zone_id"`
	Slug        string `json:"slug"`
	OwnerType   string `json:"owner_type"`
	Identifier  string `json:"identifier"`
	Name        string `json:"name"`
	Description string `json:"description"`
	// ApplicationID is the application that provides the resource, if any.
	ApplicationID        string   `json:"application_id"`
	ApplicationType      string   `json:"application_type"`
	CredentialProviderID string   `json:"credential_provider_id"`
	Prefix               bool     `json:"prefix"`
	Scopes               []string `json:"scopes"`
	Metadata             Metadata `json:"metadata"`
	// WhenAccessing is for the resource as a dependency: the resources for which the application may have its tokens, any
	// when there are none.
	WhenAccessing []string `json:"when_accessing"`
}

func (r Resource) objectID() string { return r.ID }

// ResourceCreate is the body of a create request. Identifier and Name are required; empty members are
// left out.
type ResourceCreate struct {
	Identifier           string   `json:"identifier"`
	Name                 string   `json:"name"`
	Description          string   `json:"description,omitempty"`
	ApplicationID        string   `json:"application_id,omitempty"`
	CredentialProviderID string   `json:"credential_provider_id,omitempty"`
	Scopes               []string `json:"scopes,omitempty"`
	Metadata             Metadata `json:"metadata,omitzero"`
}

// ResourcePatch is the body of a PATCH request: what is absent stays as it is.
type ResourcePatch struct {
	Identifier           Field[string]   `json:"identifier,omitzero"`
	Name                 Field[string]   `json:"name,omitzero"`
	Description          Field[string]   `json:"description,omitzero"`
	ApplicationID        Field[string]   `json:"application_id,omitzero"`
	CredentialProviderID Field[string]   `json:"credential_provider_id,omitzero"`
	Scopes               Field[[]string] `json:"scopes,omitzero"`
	Metadata             Field[Metadata] `json:"metadata,omitzero"`
}

// IsZero reports whether the patch changes nothing, so that it need not be sent.
func (p ResourcePatch) IsZero() bool { return isZero(p) }

// FindResource looks a resource up by its identifier, and returns false when the zone has none.
func (m *ManagementClient) FindResource(ctx context.Context, zoneID, identifier string) (Resource, bool, error) {
	const op = "looking up the resource"
	if identifier == "" {
		return Resource{}, false, misconfigured(op, "the identifier is empty")
	}
	return find(ctx, m, op, url.Values{"identifier": {identifier}},
		func(r Resource) bool { return r.Identifier == identifier }, "zones", zoneID, "resources")
}

// ListResourcesByProvider returns every resource whose tokens come from the provider.
func (m *ManagementClient) ListResourcesByProvider(ctx context.Context, zoneID, providerID string) ([]Resource, error) {
	const op = "listing the provider's resources"
	if providerID == "" {
		return nil, misconfigured(op, "the provider id is empty")
	}
	// This one query parameter is in camel case on the wire.
	return listAll(ctx, m, op, url.Values{"credentialProviderId": {providerID}},
		func(r Resource) bool { return r.CredentialProviderID == providerID }, "zones", zoneID, "resources")
}

// GetResource reads one resource; IsNotFound tells when it does not exist.
func (m *ManagementClient) GetResource(ctx context.Context, zoneID, id string) (Resource, error) {
	return get[Resource](ctx, m, "getting the resource", "zones", zoneID, "resources", id)
}

// CreateResource registers a resource; IsConflict tells when its identifier is taken.
func (m *ManagementClient) CreateResource(ctx context.Context, zoneID string, r ResourceCreate) (Resource, error) {
	const op = "creating the resource"
	if r.Identifier == "" || r.Name == "" {
		return Resource{}, misconfigured(op, "the identifier or name is empty")
	}
	return exchangeObject[Resource](ctx, m, request{
		op: op, method: http.MethodPost, path: []string{"zones", zoneID, "resources"}, body: r,
	})
}

// PatchResource changes a resource and returns it as it is afterwards.
func (m *ManagementClient) PatchResource(ctx context.Context, zoneID, id string, p ResourcePatch) (Resource, error) {
	return exchangeObject[Resource](ctx, m, request{
		op: "updating the resource", method: http.MethodPatch, path: []string{"zones", zoneID, "resources", id}, body: p,
	})
}

// DeleteResource deletes a resource. It is no error when the resource is gone already.
func (m *ManagementClient) DeleteResource(ctx context.Context, zoneID, id string) error {
	return remove(ctx, m, "deleting the resource", "zones", zoneID, "resources", id)
}
