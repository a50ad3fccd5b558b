// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConfluenceTokenBinding keeps a short-lived Confluence token fresh in a Secret. It says who calls, on
// whose behalf and with which scopes; the operator exchanges tokens at the zone (RFC 8693) and writes the
// Secret before the previous token expires.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=ctb,categories=keycard
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.spec.secret.name`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Refresh",type=string,priority=1,JSONPath=`.status.refreshAt`
// +kubebuilder:printcolumn:name="User",type=string,priority=1,JSONPath=`.spec.subject.user`
// +kubebuilder:printcolumn:name="Site",type=string,priority=1,JSONPath=`.status.site.url`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.resourceRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.secret.name`
type ConfluenceTokenBinding struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants. The operator never writes it.
	// +required
	Spec ConfluenceTokenBindingSpec `json:"spec,omitzero"`

	// status is what the operator saw and did.
	// +optional
	Status ConfluenceTokenBindingStatus `json:"status,omitzero"`
}

// ConfluenceTokenBindingSpec is the token that is wanted.
type ConfluenceTokenBindingSpec struct {
	// resourceRef names the KeycardResource whose API the token is for.
	// +required
	ResourceRef KeycardResourceReference `json:"resourceRef,omitzero"`

	// application says which application of the zone makes the exchange: who calls. Exactly one of its
	// fields is set.
	// +required
	Application Application `json:"application,omitzero"`

	// subject says on whose behalf the application calls. Exactly one of its fields is set.
	// +required
	Subject Subject `json:"subject,omitzero"`

	// scopes the token has to have, out of those the resource offers. Absent means all of them. The token
	// may have more: the zone hands out what the person consented to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!#-Z^-~]+$')",message="must be a scope: visible ASCII without spaces, quotes, brackets and backslashes (RFC 6749 section 3.3)"
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(t, t == s))",message="lists a scope twice; remove one of them",messageExpression="'lists ' + self.filter(s, !self.exists_one(t, t == s))[0] + ' twice; remove one of them'"
	// +kubebuilder:validation:items:XValidation:rule="self != 'offline_access'",message="is added by the operator; remove it"
	Scopes []Scope `json:"scopes,omitempty"`

	// reducedScopes says what to do with a token that has fewer scopes than were asked for, because the person or a policy
	// of the zone left some out: Refuse (the default) or Accept it. status.scopes lists what the token has.
	// +optional
	ReducedScopes ReducedScopes `json:"reducedScopes,omitempty"`

	// verify Probe tries each new token with one cheap read of Confluence, and shows in condition Verified what came of it.
	// The token is written in any case; one that Confluence refuses makes this object not ready, and is replaced after ten
	// minutes. Absent means that tokens are not tried.
	// +optional
	Verify Verify `json:"verify,omitempty"`

	// refresh says when the next token is asked for. Absent means after two thirds of a token's life at the latest, and
	// early enough for mounted files to follow.
	// +optional
	Refresh *Refresh `json:"refresh,omitempty"`

	// site says which Atlassian site the token is used with. It may be left out when the grant has one.
	// +optional
	Site *Site `json:"site,omitempty"`

	// secret is the Secret to write, in the namespace of this object.
	// +required
	Secret OutputSecret `json:"secret,omitzero"`

	// restart names workloads that are restarted when the token changes, because they read it from environment variables.
	// A program that reads the mounted file needs no restart. The operator has to be permitted to: see docs/tokens.md.
	// +optional
	Restart *Restart `json:"restart,omitempty"`

	// suspend stops the operator from exchanging tokens for this object while true. The Secret stays as
	// it is, and its token lapses when its time comes.
	// +optional
	Suspend *bool `json:"suspend,omitempty"` //nolint:kubeapilinter // the name and type that Flux, Jobs and CronJobs use
}

// ReducedScopes says what to do with a token that has fewer scopes than were asked for.
// +kubebuilder:validation:Enum=Refuse;Accept
type ReducedScopes string

// What is done with such a token.
const (
	// RefuseReducedScopes leaves the token that is there until it lapses, and says ScopeReduced.
	RefuseReducedScopes ReducedScopes = "Refuse"
	// AcceptReducedScopes writes the token.
	AcceptReducedScopes ReducedScopes = "Accept"
)

// Verify says whether and how each new token is tried.
// +kubebuilder:validation:Enum=Probe
type Verify string

// VerifyProbe makes one cheap read of Confluence.
const VerifyProbe Verify = "Probe"

// Refresh says when the next token is asked for.
type Refresh struct {
	// before is how long before a token expires the next one is asked for, for example 20m; from 1m to 12h. It is at most
	// half of the token's life, and never so short that a mounted file could not follow. Up to a fifth of the life is taken
	// off, so that bindings created together drift apart.
	// +required
	Before Duration `json:"before,omitempty"`
}

// Duration is a time span in hours, minutes and seconds, for example 1h30m.
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:XValidation:rule="size(self) > 0 && self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('12h')",message="must be from 1m to 12h, in hours, minutes and seconds, for example 20m"
type Duration string

// Restart names workloads that are restarted when the token changes.
type Restart struct {
	// targets are workloads in the namespace of this object. Each gets the annotation keycard.cloud/token-issued-at on its
	// pod template, which makes Kubernetes roll it out.
	// +required
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Targets []RestartTarget `json:"targets,omitempty"`

	// minInterval is the least time between two restarts, for example 2h; from 30m to 24h. Absent means 30m. A token that
	// changes sooner leads to one restart when the time is over.
	// +optional
	MinInterval RestartInterval `json:"minInterval,omitempty"`
}

// RestartTarget is a workload that is restarted.
type RestartTarget struct {
	// kind of the workload: Deployment, StatefulSet or DaemonSet.
	// +required
	Kind RestartKind `json:"kind,omitempty"`

	// name of the workload.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a workload: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`
}

// RestartKind is a kind of the API group apps that is rolled out when its pod template changes.
// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet
type RestartKind string

// RestartInterval is a time span in hours, minutes and seconds, for example 1h30m.
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:XValidation:rule="size(self) > 0 && self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('30m') && duration(self) <= duration('24h')",message="must be from 30m to 24h, in hours, minutes and seconds, for example 2h"
type RestartInterval string

// KeycardResourceReference names a KeycardResource.
type KeycardResourceReference struct {
	// name of the KeycardResource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a KeycardResource: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// namespace of the KeycardResource; its allowedNamespaces has to admit this one. Absent means the
	// namespace of this object.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be the name of a namespace: lower-case letters, digits and '-', starting and ending with a letter or digit"
	Namespace string `json:"namespace,omitempty"`
}

// Application says which application of the zone makes the exchange. Exactly one field is set.
// +kubebuilder:validation:ExactlyOneOf=serviceAccountName;clientSecretRef
type Application struct {
	// serviceAccountName is a ServiceAccount in the namespace of this object. The operator requests a
	// token for it, with the zone as its only audience, and the zone knows the application by it:
	// no secret is stored.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a ServiceAccount: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// clientSecretRef names a Secret with the application's client id and client secret (keys client_id
	// and client_secret).
	// +optional
	ClientSecretRef *LocalSecretReference `json:"clientSecretRef,omitempty"`
}

// Subject says on whose behalf the application calls. Exactly one field is set.
// +kubebuilder:validation:ExactlyOneOf=user;accessTokenSecretRef;refreshTokenSecretRef;application
type Subject struct {
	// user is a person, by the identifier the zone knows her by, or by her e-mail address, which is looked up once. The
	// application impersonates her, which needs her consent once and an access policy that permits it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^[:cntrl:]<> ]([^[:cntrl:]<>]*[^[:cntrl:]<> ])?$')",message="must be a user's identifier in the zone; remove control characters, '<', '>' and spaces around it"
	User string `json:"user,omitempty"`

	// accessTokenSecretRef names a key of a Secret that holds an access token of the zone for the
	// person. Somebody else keeps it fresh; each change leads to an exchange.
	// +optional
	AccessTokenSecretRef *SecretKeyReference `json:"accessTokenSecretRef,omitempty"`

	// refreshTokenSecretRef names a key of a Secret that holds a refresh token of the zone for the
	// person. The operator keeps that session alive.
	// +optional
	RefreshTokenSecretRef *SecretKeyReference `json:"refreshTokenSecretRef,omitempty"`

	// application means that the application calls as itself, where the zone permits that.
	// +optional
	Application *ApplicationSubject `json:"application,omitempty"`
}

// ApplicationSubject means that the application calls as itself. It has no fields.
type ApplicationSubject struct{}

// Site is an Atlassian site.
type Site struct {
	// url of the site, for example https://acme.atlassian.net.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the site's address in lower case, for example https://acme.atlassian.net, without path or trailing slash"
	URL string `json:"url,omitempty"`
}

// OutputSecret is the Secret the operator writes.
type OutputSecret struct {
	// name of the Secret. Immutable: pods mount it by name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="is immutable, because pods mount the Secret by name; create another ConfluenceTokenBinding for another Secret"
	Name string `json:"name,omitempty"`

	// formats adds files for particular clients: Header (authorization header for curl -H @file), Curl
	// (configuration for curl -K), Env (shell assignments), Properties (key=value). The keys token,
	// token.json, expires_at, expires_at_epoch, issued_at, base_url and cloud_id are always there.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Formats []Format `json:"formats,omitempty"`

	// onExpiry says what becomes of a token that expired because no other could be had: Keep (the default) leaves it, Remove
	// takes the token's keys out of the Secret. The Secret itself stays until this object goes. While spec.suspend is true, nothing
	// is removed: an expired token goes when that ends, unless a new one takes its place.
	// +optional
	OnExpiry OnExpiry `json:"onExpiry,omitempty"`

	// labels to put on the Secret. Nothing is copied from this object's own labels.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !format.qualifiedName().validate(k).hasValue())",message="each label's key must be a qualified name, for example example.com/team"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k == 'app.kubernetes.io/managed-by' || k == 'app.kubernetes.io/instance' || k.matches('^([a-z0-9.-]+[.])?(keycard[.]cloud|kubernetes[.]io|k8s[.]io|argoproj[.]io|fluxcd[.]io|helm[.]sh)/') && !k.startsWith('app.kubernetes.io/'))",message="uses a reserved prefix: keys of keycard.cloud, kubernetes.io, k8s.io, argoproj.io, fluxcd.io and helm.sh, and app.kubernetes.io/managed-by and /instance, belong to others; use a prefix of your own"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations to put on the Secret. Nothing is copied from this object's own annotations.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !format.qualifiedName().validate(k).hasValue())",message="each annotation's key must be a qualified name, for example example.com/team"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.matches('^([a-z0-9.-]+[.])?(keycard[.]cloud|kubernetes[.]io|k8s[.]io|fluxcd[.]io|helm[.]sh)/') || k == 'argocd.argoproj.io/tracking-id')",message="uses a reserved prefix: keys of keycard.cloud, kubernetes.io, k8s.io, fluxcd.io and helm.sh, and argocd.argoproj.io/tracking-id, belong to others; use a prefix of your own"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// OnExpiry says what becomes of a token that expired.
// +kubebuilder:validation:Enum=Keep;Remove
type OnExpiry string

// What becomes of it.
const (
	// KeepExpired leaves the token.
	KeepExpired OnExpiry = "Keep"
	// RemoveExpired takes the token's keys out of the Secret.
	RemoveExpired OnExpiry = "Remove"
)

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="must be the value of a label: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
type LabelValue string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=1024
type AnnotationValue string

// Format is a form in which a client reads the token.
// +kubebuilder:validation:Enum=Header;Curl;Env;Properties
type Format string

// The formats.
const (
	// FormatHeader adds the keys authorization ("Bearer …") and header ("Authorization: Bearer …").
	FormatHeader Format = "Header"
	// FormatCurl adds the key curlrc, a configuration file for curl -K.
	FormatCurl Format = "Curl"
	// FormatEnv adds the key env, assignments that a POSIX shell can source.
	FormatEnv Format = "Env"
	// FormatProperties adds the key atlassian.properties, lines of key=value.
	FormatProperties Format = "Properties"
)

// ConfluenceTokenBindingStatus is what the operator saw and did.
type ConfluenceTokenBindingStatus struct {
	// conditions of the object. Ready means that the token in the Secret works now: it is there, unexpired and for this
	// spec. ResourceReady, TokenIssued and SecretSynced may be False meanwhile. Reconciling is there while the
	// operator works towards the spec, Stalled while it waits for a person. Restarted is there while spec.restart is set.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// issuedAt is when the token in the Secret was received.
	// +optional
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`

	// expiresAt is when the token in the Secret expires.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// refreshAt is when the operator will exchange for the next token.
	// +optional
	RefreshAt *metav1.Time `json:"refreshAt,omitempty"`

	// refreshProblem is why the next token is not to be had, in the words of the conditions' reasons: for example
	// ConsentRequired. It is set while TokenIssued says RefreshFailing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RefreshProblem string `json:"refreshProblem,omitempty"`

	// scopes are the scopes the token was granted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Scopes []Scope `json:"scopes,omitempty"`

	// site is the Atlassian site the token is used with.
	// +optional
	Site *SiteStatus `json:"site,omitempty"`

	// user is the identifier by which the zone knows the user of the spec, where it was looked up by an e-mail address.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	User string `json:"user,omitempty"`

	// lastRefreshRequest is the value of the annotation keycard.cloud/refresh-requested-at that was honoured last, cut
	// to 64 bytes.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	LastRefreshRequest string `json:"lastRefreshRequest,omitempty"`

	// restart is what is remembered of restarts. It is set while spec.restart is.
	// +optional
	Restart *RestartStatus `json:"restart,omitempty"`

	// consentURL is where the person consents. It is set while her consent is missing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	ConsentURL string `json:"consentURL,omitempty"`
}

// RestartStatus is what is remembered of restarts.
type RestartStatus struct {
	// tokenIssuedAt is when the token was received that the workloads were last restarted for, or the one that was there when
	// spec.restart was set. A restart is due when the Secret holds another.
	// +required
	TokenIssuedAt *metav1.Time `json:"tokenIssuedAt,omitempty"`

	// restartedAt is when they were last restarted; absent before the first time.
	// +optional
	RestartedAt *metav1.Time `json:"restartedAt,omitempty"`

	// pending are the workloads that the last restart did not reach. Those that do not exist start with the token that is
	// there; the others are tried again.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Pending []PendingRestart `json:"pending,omitempty"`
}

// PendingRestart is a workload that a restart did not reach.
type PendingRestart struct {
	// kind of the workload.
	// +required
	Kind RestartKind `json:"kind,omitempty"`

	// name of the workload.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// reason why it was not reached, in the words of condition Restarted.
	// +required
	Reason PendingReason `json:"reason,omitempty"`
}

// PendingReason is why a restart did not reach a workload: one of the reasons of condition Restarted.
// +kubebuilder:validation:Enum=RestartForbidden;RestartTargetNotFound;RestartFailed
type PendingReason string

// SiteStatus is the Atlassian site a token is used with.
type SiteStatus struct {
	// url of the site.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	URL string `json:"url,omitempty"`

	// cloudID is Atlassian's id of the site.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	CloudID string `json:"cloudID,omitempty"`
}

// ConfluenceTokenBindingList is a list of ConfluenceTokenBindings.
// +kubebuilder:object:root=true
type ConfluenceTokenBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ConfluenceTokenBinding `json:"items"`
}
