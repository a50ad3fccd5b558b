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

	// managementPolicy says whether the operator changes the zone. Manage creates what is missing and puts
	// right what differs; Observe only compares and reports, and sends nothing that changes the zone. Absent
	// means Manage.
	// +optional
	ManagementPolicy ManagementPolicy `json:"managementPolicy,omitempty"`

	// applications lists the zone's applications that may ask for tokens of this resource: each gets the
	// resource as a dependency. An application that is taken off the list loses it again. Absent means that the
	// operator leaves the applications of the zone alone.
	// +optional
	// +listType=map
	// +listMapKey=identifier
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Applications []ApplicationReference `json:"applications,omitempty"`

	// workloadRegistration makes the operator register workloads in the zone: for each ServiceAccount that a
	// ConfluenceTokenBinding of this resource names, in a namespace that is allowed, it makes an application with
	// a workload-identity credential and this resource as its dependency, and removes it when the last such
	// binding is gone. Absent means that people register applications themselves.
	// +optional
	WorkloadRegistration *WorkloadRegistration `json:"workloadRegistration,omitempty"`

	// policies are Cedar policies that the operator keeps in force in the zone, along with those that are in force
	// already. Access is denied where no policy permits it.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Policies []AccessPolicy `json:"policies,omitempty"`

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

	// caBundle says where the certificate authorities (PEM) are that sign the certificates of the issuer and of
	// apiURL, when those are private. They replace the system's for this zone. Absent means the system's.
	// +optional
	CABundle *CABundleSource `json:"caBundle,omitempty"`
}

// CABundleSource says where certificates are: exactly one of configMapKeyRef and secretKeyRef is set.
// +kubebuilder:validation:ExactlyOneOf=configMapKeyRef;secretKeyRef
type CABundleSource struct {
	// configMapKeyRef names a ConfigMap, in the same namespace, and its key.
	// +optional
	ConfigMapKeyRef *ConfigMapKeyReference `json:"configMapKeyRef,omitempty"`

	// secretKeyRef names a Secret, in the same namespace, and its key.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
}

// ConfigMapKeyReference names one key of a ConfigMap in the namespace of the object that refers to it.
type ConfigMapKeyReference struct {
	// name of the ConfigMap, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a ConfigMap: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key in the ConfigMap's data that holds the value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a key of a ConfigMap: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// ApplicationReference names an application of the zone.
type ApplicationReference struct {
	// identifier of the application, as the Keycard console shows it, for example urn:app:reports.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^[!-;=?-~]+$')",message="must be an application's identifier: visible ASCII without spaces, '<' and '>'"
	Identifier string `json:"identifier,omitempty"`
}

// WorkloadRegistration says how the zone recognises this cluster's ServiceAccounts.
type WorkloadRegistration struct {
	// issuer is the URL in the tokens of this cluster's ServiceAccounts. Absent means what the cluster's own
	// discovery document says.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@\\\\s]+(/[^?#\\\\s]*)?$')",message="must be the issuer exactly as in the tokens: https:// and a host, without user, query and fragment"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('http://') || self.matches('^http://(127[.]0[.]0[.]1|localhost|[[]::1[]])(:[0-9]+)?(/.*)?$')",message="must use https; http is for loopback addresses only"
	Issuer string `json:"issuer,omitempty"`

	// jwksURI is where the zone reads the keys that sign those tokens. Absent means that the zone finds them
	// through the issuer's discovery document, which it has to be able to reach.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@\\\\s]+(/[^#\\\\s]*)?$')",message="must be https:// and a host, without user and fragment"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('http://') || self.matches('^http://(127[.]0[.]0[.]1|localhost|[[]::1[]])(:[0-9]+)?(/.*)?$')",message="must use https; http is for loopback addresses only"
	JWKSURI string `json:"jwksURI,omitempty"`
}

// AccessPolicy is one Cedar policy.
type AccessPolicy struct {
	// name of the policy, unique in this object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// cedar is the policy's text, in Cedar's own language. The zone checks it against its schema.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Cedar string `json:"cedar,omitempty"`
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

// ManagementPolicy says whether the operator changes the zone.
// +kubebuilder:validation:Enum=Manage;Observe
type ManagementPolicy string

// The management policies.
const (
	// ManagementManage creates what is missing and puts right what differs.
	ManagementManage ManagementPolicy = "Manage"
	// ManagementObserve compares and reports only.
	ManagementObserve ManagementPolicy = "Observe"
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
	// conditions of the object. Ready sums up CredentialsValid, ProviderRegistered, ResourceRegistered and, where the
	// spec asks for them, ApplicationsRegistered and PoliciesApplied. Reconciling is there while the operator works
	// towards the spec, Stalled while it waits for a person.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=10
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

	// applications are those of spec.applications that the operator gave the resource as a dependency.
	// +optional
	// +listType=map
	// +listMapKey=identifier
	// +kubebuilder:validation:MaxItems=200
	Applications []ApplicationStatus `json:"applications,omitempty"`

	// workloads counts the ServiceAccounts that are registered for bindings of this resource. It is absent where
	// spec.workloadRegistration is.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Workloads *int32 `json:"workloads,omitempty"`

	// consentClientID is the client id of the public application that people sign in to when they let a binding act
	// for them. The operator registers it when the first such binding appears.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	ConsentClientID string `json:"consentClientID,omitempty"`

	// policies are the access policies that the operator has registered in the zone.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Policies []AccessPolicyStatus `json:"policies,omitempty"`

	// oauthAppHash is a keyed hash of the OAuth app's credentials that were last sent to the zone. The
	// zone never gives a client secret back, so this is how the operator knows that the Secret changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OAuthAppHash string `json:"oauthAppHash,omitempty"`
}

// ApplicationStatus is an application of the zone that has the resource as a dependency.
type ApplicationStatus struct {
	// identifier of the application.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Identifier string `json:"identifier,omitempty"`

	// id is the zone's id of the application.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ID string `json:"id,omitempty"`
}

// AccessPolicyStatus is a policy in the zone.
type AccessPolicyStatus struct {
	// name of the policy in the spec.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// id is the zone's id of the policy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ID string `json:"id,omitempty"`

	// versionID is the zone's id of the version that is in force.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	VersionID string `json:"versionID,omitempty"`

	// hash fingerprints the text of that version.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Hash string `json:"hash,omitempty"`
}

// KeycardResourceList is a list of KeycardResources.
// +kubebuilder:object:root=true
type KeycardResourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KeycardResource `json:"items"`
}
