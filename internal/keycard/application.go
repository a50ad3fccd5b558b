// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"net/http"
	"net/url"
)

// Application is a client of the zone's token endpoint (/zones/{zone}/applications).
type Application struct {
	ID          string `json:"id"`
	Slug        string `json:"slug"`
	OwnerType   string `json:"owner_type"`
	Identifier  string `json:"identifier"`
	Name        string `json:"name"`
	Description string `json:"description"`
	// Consent is "implicit" or "required".
	Consent   string               `json:"consent"`
	Protocols ApplicationProtocols `json:"protocols"`
}

func (a Application) objectID() string { return a.ID }

// ApplicationProtocols holds the protocol settings of an application.
type ApplicationProtocols struct {
	OAuth2 ApplicationOAuth2 `json:"oauth2,omitzero"`
}

// ApplicationOAuth2 are the OAuth settings of an application.
type ApplicationOAuth2 struct {
	RedirectURIs []string `json:"redirect_uris,omitempty"`
}

// ApplicationCreate is the body of a create request. Identifier and Name are required; empty members are left out.
type ApplicationCreate struct {
	Identifier  string               `json:"identifier"`
	Name        string               `json:"name"`
	Description string               `json:"description,omitempty"`
	Consent     string               `json:"consent,omitempty"`
	Protocols   ApplicationProtocols `json:"protocols,omitzero"`
}

// ApplicationPatch is the body of a PATCH request: what is absent stays as it is.
type ApplicationPatch struct {
	Name        Field[string]               `json:"name,omitzero"`
	Description Field[string]               `json:"description,omitzero"`
	Consent     Field[string]               `json:"consent,omitzero"`
	Protocols   Field[ApplicationProtocols] `json:"protocols,omitzero"`
}

// IsZero reports whether the patch changes nothing, so that it need not be sent.
func (p ApplicationPatch) IsZero() bool { return isZero(p) }

// FindApplication looks an application up by its identifier, and returns false when the zone has none.
func (m *ManagementClient) FindApplication(ctx context.Context, zoneID, identifier string) (Application, bool, error) {
	const op = "looking up the application"
	if identifier == "" {
		return Application{}, false, misconfigured(op, "the identifier is empty")
	}
	return find(ctx, m, op, url.Values{"identifier": {identifier}},
		func(a Application) bool { return a.Identifier == identifier }, "zones", zoneID, "applications")
}

// ListApplications returns the zone's applications that keep admits.
func (m *ManagementClient) ListApplications(ctx context.Context, zoneID string, keep func(Application) bool) ([]Application, error) {
	return listAll(ctx, m, "listing applications", url.Values{}, keep, "zones", zoneID, "applications")
}

// GetApplication reads one application; IsNotFound tells when it does not exist.
func (m *ManagementClient) GetApplication(ctx context.Context, zoneID, id string) (Application, error) {
	return get[Application](ctx, m, "getting the application", "zones", zoneID, "applications", id)
}

// CreateApplication registers an application; IsConflict tells when its identifier is taken.
func (m *ManagementClient) CreateApplication(ctx context.Context, zoneID string, a ApplicationCreate) (Application, error) {
	const op = "creating the application"
	if a.Identifier == "" || a.Name == "" {
		return Application{}, misconfigured(op, "the identifier or name is empty")
	}
	return exchangeObject[Application](ctx, m, request{
		op: op, method: http.MethodPost, path: []string{"zones", zoneID, "applications"}, body: a,
	})
}

// PatchApplication changes an application and returns it as it is afterwards.
func (m *ManagementClient) PatchApplication(ctx context.Context, zoneID, id string, p ApplicationPatch) (Application, error) {
	return exchangeObject[Application](ctx, m, request{
		op: "updating the application", method: http.MethodPatch, path: []string{"zones", zoneID, "applications", id}, body: p,
	})
}

// DeleteApplication deletes an application. It is no error when the application is gone already.
func (m *ManagementClient) DeleteApplication(ctx context.Context, zoneID, id string) error {
	return remove(ctx, m, "deleting the application", "zones", zoneID, "applications", id)
}

// ListDependencies returns the resources that an application may ask tokens for.
func (m *ManagementClient) ListDependencies(ctx context.Context, zoneID, applicationID string) ([]Resource, error) {
	return listAll(ctx, m, "listing the application's dependencies", url.Values{},
		func(Resource) bool { return true }, "zones", zoneID, "applications", applicationID, "dependencies")
}

// FindDependency tells whether an application may ask tokens for a resource, which WhenAccessing may restrict.
func (m *ManagementClient) FindDependency(ctx context.Context, zoneID, applicationID, resourceID string) (Resource, bool, error) {
	r, err := get[Resource](ctx, m, "getting the dependency", "zones", zoneID, "applications", applicationID, "dependencies", resourceID)
	if IsNotFound(err) {
		return r, false, nil
	}
	return r, err == nil, err
}

// PutDependency lets an application ask tokens for a resource, whatever it is accessing. It is idempotent.
func (m *ManagementClient) PutDependency(ctx context.Context, zoneID, applicationID, resourceID string) error {
	return m.send(ctx, request{
		op: "adding the dependency", method: http.MethodPut,
		path: []string{"zones", zoneID, "applications", applicationID, "dependencies", resourceID},
		body: struct{}{},
	}, nil)
}

// DeleteDependency takes that back. It is no error when there is no such dependency.
func (m *ManagementClient) DeleteDependency(ctx context.Context, zoneID, applicationID, resourceID string) error {
	return remove(ctx, m, "removing the dependency",
		"zones", zoneID, "applications", applicationID, "dependencies", resourceID)
}

// Types of application credentials that the operator makes.
const (
	// CredentialToken is a workload's own token, signed by a provider that the zone trusts.
	CredentialToken = "token"
	// CredentialPublic is a client id without a secret, for browser flows with PKCE.
	CredentialPublic = "public"
)

// ApplicationCredential is how an application authenticates (/zones/{zone}/application-credentials).
type ApplicationCredential struct {
	ID            string `json:"id"`
	ApplicationID string `json:"application_id"`
	Type          string `json:"type"`
	// Identifier is the client id, except for type token.
	Identifier string `json:"identifier"`
	// ProviderID and Subject say whose tokens are accepted, for type token.
	ProviderID string `json:"provider_id"`
	Subject    string `json:"subject"`
}

func (c ApplicationCredential) objectID() string { return c.ID }

// ApplicationCredentialCreate is the body of a create request: type token takes ProviderID and Subject, type public
// an Identifier.
type ApplicationCredentialCreate struct {
	ApplicationID string `json:"application_id"`
	Type          string `json:"type"`
	Identifier    string `json:"identifier,omitempty"`
	ProviderID    string `json:"provider_id,omitempty"`
	Subject       string `json:"subject,omitempty"`
}

// ListApplicationCredentials returns an application's credentials, or those of all applications for an empty id.
func (m *ManagementClient) ListApplicationCredentials(ctx context.Context, zoneID, applicationID string) ([]ApplicationCredential, error) {
	query := url.Values{}
	if applicationID != "" {
		query.Set("applicationId", applicationID) // in camel case on the wire
	}
	return listAll(ctx, m, "listing application credentials", query, func(c ApplicationCredential) bool {
		return applicationID == "" || c.ApplicationID == applicationID
	}, "zones", zoneID, "application-credentials")
}

// CreateApplicationCredential makes a credential of a type that has no secret.
func (m *ManagementClient) CreateApplicationCredential(ctx context.Context, zoneID string, c ApplicationCredentialCreate) (ApplicationCredential, error) {
	return exchangeObject[ApplicationCredential](ctx, m, request{
		op: "creating the application credential", method: http.MethodPost, path: []string{"zones", zoneID, "application-credentials"}, body: c,
	})
}

// DeleteApplicationCredential deletes a credential. It is no error when it is gone already.
func (m *ManagementClient) DeleteApplicationCredential(ctx context.Context, zoneID, id string) error {
	return remove(ctx, m, "deleting the application credential", "zones", zoneID, "application-credentials", id)
}
