// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KeycardResource installs an upstream API, such as Confluence Cloud, in a Keycard zone: it registers
// the upstream's OAuth app as a provider and the API as a resource. The OAuth client secret then stays
// inside the zone; nothing else in the cluster needs it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=kcr,categories=keycard
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Entry",type=string,JSONPath=`.spec.catalogEntry`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.spec.zone.id`
// +kubebuilder:printcolumn:name="Redirect URI",type=string,priority=1,JSONPath=`.status.redirectURI`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.zone.id`
// +kubebuilder:selectablefield:JSONPath=`.spec.catalogEntry`
type KeycardResource struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants. The operator never writes it.
	// +required
	Spec KeycardResourceSpec `json:"spec,omitzero"`

	// status is what the operator saw and did.
	// +optional
	Status KeycardResourceStatus `json:"status,omitzero"`
}

// KeycardResourceSpec is the install that is wanted.
type KeycardResourceSpec struct {
	// zone is the Keycard zone to install into, and the credential to do it with.
	// +required
	Zone ZoneReference `json:"zone,omitzero"`

	// catalogEntry names what to install: an entry of the operator's built-in catalog, which knows the
	// upstream's identifiers, endpoints and scopes. "confluence" is Confluence Cloud. Immutable: another
	// upstream is another KeycardResource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be a catalog entry's name: lower-case letters, digits and '-', starting and ending with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable; create another KeycardResource for another catalog entry"
	CatalogEntry string `json:"catalogEntry,omitempty"`

	// oauthAppSecretRef names the Secret with the client id and client secret of the upstream's OAuth app
	// (keys client_id and client_secret). For Confluence this is the OAuth 2.0 integration made in the
	// Atlassian developer console. The Secret may be created later: status.redirectURI shows the callback
	// URL to register there.
	// +required
	OAuthAppSecretRef LocalSecretReference `json:"oauthAppSecretRef,omitzero"`

	// scopes changes which scopes the resource offers: exactly one of add and set. Absent means the
	// catalog's defaults. offline_access is handled by the operator and is not named here.
	// +optional
	Scopes *ScopeSelection `json:"scopes,omitempty"`

	// allowedNamespaces says which namespaces may bind to this resource. Absent means only the namespace
	// this object is in.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// adoptionPolicy says what to do when the resource's identifier is already taken in the zone by an
	// object this operator did not create. Refuse leaves it alone and reports IdentifierInUse; Adopt takes
	// it over: from then on it is treated as if the operator had created it, deletion included. Absent
	// means Refuse. The shared OAuth provider is used as it is in either case.
	// +optional
	AdoptionPolicy AdoptionPolicy `json:"adoptionPolicy,omitempty"`

	// deletionPolicy says what happens in the zone when this object is deleted. Retain leaves everything
	// there; Delete removes what the operator created and nobody else uses. Absent means Retain.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// suspend stops the operator from touching the zone for this object while true, deletion included: a
	// suspended object that is deleted leaves its objects in the zone. Tokens that are out keep being refreshed.
	// +optional
	Suspend *bool `json:"suspend,omitempty"` //nolint:kubeapilinter // the name and type that Flux, Jobs and CronJobs use
}

// ZoneReference says which Keycard zone, and how to reach and enter it.
type ZoneReference struct {
	// id of the zone, as the Keycard console shows it. Immutable: another zone is another KeycardResource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$')",message="must be a zone id: letters, digits and '-', starting and ending with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable; create another KeycardResource for another zone"
	ID string `json:"id,omitempty"`

	// serviceAccountSecretRef names the Secret with the client id and client secret of a Keycard service
	// account that may manage the zone (keys client_id and client_secret).
	// +required
	ServiceAccountSecretRef LocalSecretReference `json:"serviceAccountSecretRef,omitzero"`

	// issuer is the zone's OAuth issuer, without a path. Absent means https://<id>.keycard.cloud.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*|[[][0-9a-fA-F:.]+[]])(:[0-9]{1,5})?$') && isURL(self) && (url(self).getPort() == '' || int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535)",message="must be https:// and a host in ASCII, with a port of 1 to 65535 if need be, for example https://zn-8f2c.keycard.cloud; remove path, query, user and trailing slash"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('http://') || self.matches('^http://(127[.]0[.]0[.]1|localhost|[[]::1[]])(:[0-9]+)?$')",message="must use https; http is for loopback addresses only"
	Issuer string `json:"issuer,omitempty"`

	// apiURL is Keycard's management API. Absent means https://api.keycard.ai.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*|[[][0-9a-fA-F:.]+[]])(:[0-9]{1,5})?$') && isURL(self) && (url(self).getPort() == '' || int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535)",message="must be https:// and a host in ASCII, with a port of 1 to 65535 if need be, for example https://api.keycard.ai; remove path, query, user and trailing slash"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('http://') || self.matches('^http://(127[.]0[.]0[.]1|localhost|[[]::1[]])(:[0-9]+)?$')",message="must use https; http is for loopback addresses only"
	APIURL string `json:"apiURL,omitempty"`
}

// DefaultAPIURL is Keycard's hosted management API.
const DefaultAPIURL = "https://api.keycard.ai"

// IssuerURL is the zone's OAuth issuer: what the spec says, or the hosted zone's.
func (z *ZoneReference) IssuerURL() string {
	if z.Issuer != "" {
		return z.Issuer
	}
	return "https://" + z.ID + ".keycard.cloud"
}

// ManagementURL is the management API's base URL: what the spec says, or the hosted one.
func (z *ZoneReference) ManagementURL() string {
	if z.APIURL != "" {
		return z.APIURL
	}
	return DefaultAPIURL
}

// ScopeSelection changes the catalog's default scopes. Exactly one field is set.
// +kubebuilder:validation:ExactlyOneOf=add;set
type ScopeSelection struct {
	// add lists scopes to offer in addition to the catalog's defaults.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!#-Z^-~]+$')",message="must be a scope: visible ASCII without spaces, quotes, brackets and backslashes (RFC 6749 section 3.3)"
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(t, t == s))",message="lists a scope twice; remove one of them",messageExpression="'lists ' + self.filter(s, !self.exists_one(t, t == s))[0] + ' twice; remove one of them'"
	// +kubebuilder:validation:items:XValidation:rule="self != 'offline_access'",message="is added by the operator; remove it"
	Add []Scope `json:"add,omitempty"`

	// set lists the scopes to offer instead of the catalog's defaults.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!#-Z^-~]+$')",message="must be a scope: visible ASCII without spaces, quotes, brackets and backslashes (RFC 6749 section 3.3)"
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(t, t == s))",message="lists a scope twice; remove one of them",messageExpression="'lists ' + self.filter(s, !self.exists_one(t, t == s))[0] + ' twice; remove one of them'"
	// +kubebuilder:validation:items:XValidation:rule="self != 'offline_access'",message="is added by the operator; remove it"
	Set []Scope `json:"set,omitempty"`
}

// AllowedNamespaces says from which namespaces a resource may be used.
// +kubebuilder:validation:XValidation:rule="self.from == 'Selector' ? has(self.selector) : !has(self.selector)",message="selector is required when from is Selector, and not allowed otherwise"
type AllowedNamespaces struct {
	// from is Same (only the resource's own namespace), All (every namespace) or Selector (its own
	// namespace and those whose labels match selector).
	// +required
	From NamespacesFrom `json:"from,omitempty"`

	// selector matches the labels of the namespaces that may use the resource. An empty one matches every
	// namespace.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || self.matchLabels.all(k, !format.qualifiedName().validate(k).hasValue())",message="each key of matchLabels must be a qualified name, for example example.com/team"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && size(e.values) > 0 : e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || size(e.values) == 0))",message="each of matchExpressions must have the operator In or NotIn and values, or Exists or DoesNotExist and no values"
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// NamespacesFrom is a way to choose namespaces.
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// The ways to choose namespaces.
const (
	// NamespacesFromSame allows only the resource's own namespace.
	NamespacesFromSame NamespacesFrom = "Same"
	// NamespacesFromAll allows every namespace.
	NamespacesFromAll NamespacesFrom = "All"
	// NamespacesFromSelector allows the resource's own namespace and those whose labels match.
	NamespacesFromSelector NamespacesFrom = "Selector"
)

// AdoptionPolicy says what to do with an object that is in the zone already.
// +kubebuilder:validation:Enum=Refuse;Adopt
type AdoptionPolicy string

// The adoption policies.
const (
	// AdoptionRefuse leaves objects of others alone.
	AdoptionRefuse AdoptionPolicy = "Refuse"
	// AdoptionAdopt takes over an object that has the same identifier.
	AdoptionAdopt AdoptionPolicy = "Adopt"
)

// DeletionPolicy says what happens in the zone when the object is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionRetain leaves everything in the zone.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete removes what the operator created there.
	DeletionDelete DeletionPolicy = "Delete"
)

// KeycardResourceStatus is what the operator saw and did.
type KeycardResourceStatus struct {
	// conditions of the object. Ready sums up CredentialsValid, ProviderRegistered and ResourceRegistered. Reconciling
	// is there while the operator works towards the spec, Stalled while it waits for a person.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// redirectURI is the callback URL to register at the upstream's OAuth app. It is read from the zone
	// and shown even before the app's Secret exists.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	RedirectURI string `json:"redirectURI,omitempty"`

	// providerID is the zone's id of the OAuth provider.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ProviderID string `json:"providerID,omitempty"`

	// resourceID is the zone's id of the resource.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ResourceID string `json:"resourceID,omitempty"`

	// scopes are the scopes the resource offers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Scopes []Scope `json:"scopes,omitempty"`

	// oauthAppHash is a keyed hash of the OAuth app's credentials that were last sent to the zone. The
	// zone never gives a client secret back, so this is how the operator knows that the Secret changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OAuthAppHash string `json:"oauthAppHash,omitempty"`
}

// KeycardResourceList is a list of KeycardResources.
// +kubebuilder:object:root=true
type KeycardResourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KeycardResource `json:"items"`
}
