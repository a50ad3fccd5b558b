// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LocalSecretReference names a Secret in the namespace of the object that refers to it.
type LocalSecretReference struct {
	// name of the Secret, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names one key of a Secret in the namespace of the object that refers to it.
type SecretKeyReference struct {
	// name of the Secret, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key in the Secret's data that holds the value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// Scope is one OAuth scope (RFC 6749 section 3.3), for example read:confluence-content.all.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
type Scope string

// ScopeNames gives scopes as plain strings.
func ScopeNames(scopes []Scope) []string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return names
}

// Keys of the Secrets that users write. They are the same for the zone's service account, the
// Atlassian OAuth app and a Keycard application.
const (
	// ClientIDKey is the key of the OAuth client id.
	ClientIDKey = "client_id"
	// ClientSecretKey is the key of the OAuth client secret.
	ClientSecretKey = "client_secret" // #nosec G101 -- the name of a key, not a credential
)

// Names the operator writes into the cluster.
const (
	// Finalizer keeps a KeycardResource with deletionPolicy Delete until its objects in the zone are gone.
	Finalizer = "keycard.cloud/zone-objects"
	// FieldManager owns the fields of the output Secret (server-side apply), and the annotation of workloads that are restarted.
	FieldManager = "keycard-operator"
	// SessionFieldManager owns the refresh tokens that the operator renewed, in Secrets that are otherwise somebody else's.
	SessionFieldManager = "keycard-operator-session"

	// ManagedByLabel marks the Secrets that the operator writes.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedByValue is the value of ManagedByLabel.
	ManagedByValue = "keycard-operator"

	// RefreshRequestedAtAnnotation asks for a new token now. Any value does, a time by convention; each value is
	// honoured once, also while the operator waits after a failure.
	RefreshRequestedAtAnnotation = "keycard.cloud/refresh-requested-at"

	// TokenIssuedAtAnnotation is put on the pod template of a workload that is restarted: when the token was received that it
	// was restarted for (RFC 3339, UTC).
	TokenIssuedAtAnnotation = "keycard.cloud/token-issued-at"

	// IssuedAtAnnotation is when the token in the Secret was received (RFC 3339, UTC).
	IssuedAtAnnotation = "keycard.cloud/issued-at"
	// ExpiresAtAnnotation is when the token in the Secret expires (RFC 3339, UTC).
	ExpiresAtAnnotation = "keycard.cloud/expires-at"
	// ExchangeHashAnnotation fingerprints everything a token depends on: zone, resource, application,
	// subject, scopes and site. A difference means that the token is for another spec.
	ExchangeHashAnnotation = "keycard.cloud/exchange-hash"
	// SpecHashAnnotation fingerprints what of it stands in the binding's own spec. It tells whether the token
	// is for this spec while the KeycardResource can't be asked.
	SpecHashAnnotation = "keycard.cloud/spec-hash"
	// LayoutHashAnnotation fingerprints how the token is laid out in the Secret: formats, labels,
	// annotations. A difference means that the Secret is rendered again, from the same token.
	LayoutHashAnnotation = "keycard.cloud/layout-hash"
	// ScopesAnnotation lists the granted scopes, separated by spaces.
	ScopesAnnotation = "keycard.cloud/scopes"
	// SiteURLAnnotation is the Atlassian site the token is used with.
	SiteURLAnnotation = "keycard.cloud/site-url"
	// LifetimeNoteAnnotation is what was odd about the lifetime that the zone announced: the source of the lifetime in use, what
	// expires_in was, and how far the token's exp claim is from it.
	LifetimeNoteAnnotation = "keycard.cloud/lifetime-note"
	// VerdictAnnotation is what came of trying the token at Confluence: a reason of condition Verified.
	VerdictAnnotation = "keycard.cloud/verdict"
	// SubjectVersionAnnotation is the version of the Secret with the subject's token that was exchanged.
	SubjectVersionAnnotation = "keycard.cloud/subject-version"
	// SubjectHashAnnotation fingerprints the subject's access token that was exchanged. While it fits what the Secret holds, another
	// version of that Secret is no reason for an exchange.
	SubjectHashAnnotation = "keycard.cloud/subject-hash"
	// RefreshRequestAnnotation is the request for a new token that was honoured last, as status.lastRefreshRequest has it.
	RefreshRequestAnnotation = "keycard.cloud/refresh-request"
	// CloudIDAnnotation is Atlassian's id of that site.
	CloudIDAnnotation = "keycard.cloud/cloud-id"
)
