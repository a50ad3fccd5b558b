// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions that both kinds have.
const (
	// ConditionReady is True when the object does what it is for; each kind says when that is.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator works towards the spec, and absent otherwise. A
	// routine refresh of a healthy token does not set it.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while nothing moves until a person does something, and absent otherwise.
	// Reconciling and Stalled are never both there.
	ConditionStalled = "Stalled"
)

// Conditions of a KeycardResource. Ready is True when all that are there are.
const (
	// ConditionCredentialsValid is True when both Secrets are there and well-formed, and the zone accepted
	// the service account.
	ConditionCredentialsValid = "CredentialsValid"
	// ConditionProviderRegistered is True when the zone has an OAuth provider with this app's client id.
	ConditionProviderRegistered = "ProviderRegistered"
	// ConditionResourceRegistered is True when the zone has the resource as the spec wants it.
	ConditionResourceRegistered = "ResourceRegistered"
	// ConditionApplicationsRegistered is True when the applications of the spec, and the workloads that bindings
	// name, may use the resource. It is absent when the spec asks for neither.
	ConditionApplicationsRegistered = "ApplicationsRegistered"
	// ConditionPoliciesApplied is True when the policies of the spec are in force in the zone. It is absent when the
	// spec has none.
	ConditionPoliciesApplied = "PoliciesApplied"
)

// Conditions of a ConfluenceTokenBinding. Ready is True while the token in the Secret works; the others may fail meanwhile,
// until too little of its life is left for a mounted file to follow.
const (
	// ConditionResourceReady is True when the KeycardResource is registered and admits this namespace.
	ConditionResourceReady = "ResourceReady"
	// ConditionTokenIssued is True when the zone issued a token for this spec that has not expired.
	ConditionTokenIssued = "TokenIssued"
	// ConditionSecretSynced is True when the Secret holds that token in the wanted layout.
	ConditionSecretSynced = "SecretSynced"
	// ConditionVerified is True when Confluence accepted the token that is in the Secret. It is absent unless the spec asks
	// for tokens to be tried.
	ConditionVerified = "Verified"
)

// ConditionRestarted is True while the workloads of spec.restart need no restart. It is absent when the spec names none,
// and Ready does not depend on it.
const ConditionRestarted = "Restarted"

// Reasons of both kinds.
const (
	// ReasonReady: everything is as the spec wants it.
	ReasonReady = "Ready"
	// ReasonProgressing: the operator is working on it for the first time, or after a change of the spec.
	ReasonProgressing = "Progressing"
	// ReasonProgressingWithRetry: the operator is working on it, and retries after a failure.
	ReasonProgressingWithRetry = "ProgressingWithRetry"
	// ReasonPending: an earlier condition has to become True first.
	ReasonPending = "Pending"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonSecretNotFound: a Secret the spec refers to does not exist. Creating it is enough.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretInvalid: a Secret the spec refers to lacks a key or holds a malformed value. Mending it is
	// enough.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonZoneUnreachable: the zone or the management API does not answer, or answers with an error of
	// its own. Retried with backoff.
	ReasonZoneUnreachable = "ZoneUnreachable"
	// ReasonThrottled: the zone asked for a pause, or serves as many exchanges as may be. Retried after it.
	ReasonThrottled = "Throttled"
	// ReasonClientRejected: the zone refused the client id and secret, or the application's token.
	ReasonClientRejected = "ClientRejected"
	// ReasonRequestRejected: the zone refused the request as it is. The message has the zone's words.
	ReasonRequestRejected = "RequestRejected"
	// ReasonClusterError: the Kubernetes API refused or failed a read that the operator needs. Retried with backoff.
	ReasonClusterError = "ClusterError"
	// ReasonEndpointNotAllowed: a URL of the spec is one that the operator's flags do not allow.
	ReasonEndpointNotAllowed = "EndpointNotAllowed"
)

// Reasons of a KeycardResource.
const (
	// ReasonAccepted: both Secrets are well-formed and the zone accepted the service account.
	ReasonAccepted = "Accepted"
	// ReasonUnknownCatalogEntry: the catalog has no entry of this name.
	ReasonUnknownCatalogEntry = "UnknownCatalogEntry"
	// ReasonUnknownScope: the catalog entry does not know a scope that the spec names.
	ReasonUnknownScope = "UnknownScope"
	// ReasonRegistered: the object is in the zone as the spec wants it.
	ReasonRegistered = "Registered"
	// ReasonShared: the zone's provider was made by somebody else for the same OAuth app, and is used as it is.
	ReasonShared = "Shared"
	// ReasonProviderConflict: the zone's provider for this upstream has another OAuth app.
	ReasonProviderConflict = "ProviderConflict"
	// ReasonIdentifierInUse: the resource's identifier is taken in the zone by an object the operator did
	// not create.
	ReasonIdentifierInUse = "IdentifierInUse"
	// ReasonDrifted: the zone differs from the spec, and managementPolicy is Observe.
	ReasonDrifted = "Drifted"
	// ReasonNotRegistered: the zone does not have the object, and managementPolicy is Observe.
	ReasonNotRegistered = "NotRegistered"
	// ReasonObserved: the zone has the object as the spec wants it, and managementPolicy is Observe.
	ReasonObserved = "Observed"
	// ReasonApplicationNotFound: the zone has no application that spec.applications names.
	ReasonApplicationNotFound = "ApplicationNotFound"
	// ReasonApplicationConflict: an application that the operator wants to register for a workload is there already
	// and was not made by the operator.
	ReasonApplicationConflict = "ApplicationConflict"
	// ReasonPolicyInvalid: the zone refused a policy's text. The message has the zone's words.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonApplied: the policies are in force.
	ReasonApplied = "Applied"
	// ReasonCABundleInvalid: the certificates that spec.zone.caBundle refers to are missing or malformed.
	ReasonCABundleInvalid = "CABundleInvalid"
	// ReasonInUse: the object is being deleted while bindings still use it.
	ReasonInUse = "InUse"
	// ReasonDeleting: the operator is removing the objects it created in the zone.
	ReasonDeleting = "Deleting"
)

// Reasons of a ConfluenceTokenBinding.
const (
	// ReasonResourceNotFound: the KeycardResource does not exist or does not admit this namespace. The two
	// are not told apart, so that a stranger learns nothing.
	ReasonResourceNotFound = "ResourceNotFound"
	// ReasonResourceNotReady: the KeycardResource is not registered in the zone yet.
	ReasonResourceNotReady = "ResourceNotReady"
	// ReasonResourceRegistered: the KeycardResource can be used.
	ReasonResourceRegistered = "ResourceRegistered"
	// ReasonIssued: the zone issued a token.
	ReasonIssued = "Issued"
	// ReasonRefreshFailing: the token is good, but the exchange for the next one fails. The message has the cause.
	ReasonRefreshFailing = "RefreshFailing"
	// ReasonTokenExpiring: the exchange for the next token fails, and the present one is about to expire.
	ReasonTokenExpiring = "TokenExpiring"
	// ReasonTokenExpired: the token in the Secret has expired.
	ReasonTokenExpired = "TokenExpired"
	// ReasonTokenUnusable: the zone answered with a token that cannot be used, for example one with control characters.
	ReasonTokenUnusable = "TokenUnusable"
	// ReasonLifetimeTooShort: the token lives too short for a mounted Secret to follow.
	ReasonLifetimeTooShort = "LifetimeTooShort"
	// ReasonLifetimeUnknown: the zone announced no lifetime, or one that makes no sense. The message says
	// which lifetime is assumed.
	ReasonLifetimeUnknown = "LifetimeUnknown"
	// ReasonClockSkew: the claims of the token show that the issuer's clock and the cluster's differ by more than a minute. The
	// message says which lifetime is assumed.
	ReasonClockSkew = "ClockSkew"
	// ReasonConsentRequired: the person has not consented, or revoked her consent.
	ReasonConsentRequired = "ConsentRequired"
	// ReasonAccessDenied: the zone's access policies forbid it.
	ReasonAccessDenied = "AccessDenied"
	// ReasonUserNotIdentified: the e-mail address of spec.subject.user does not lead to one user of the zone.
	ReasonUserNotIdentified = "UserNotIdentified"
	// ReasonVerified: Confluence accepted the token.
	ReasonVerified = "Verified"
	// ReasonTokenRefused: Confluence does not accept the token (HTTP 401).
	ReasonTokenRefused = "TokenRefused"
	// ReasonScopeMismatch: Confluence does not accept the token for its scopes (HTTP 401).
	ReasonScopeMismatch = "ScopeMismatch"
	// ReasonAccessForbidden: Confluence admits the person or the app to nothing at the site (HTTP 403).
	ReasonAccessForbidden = "AccessForbidden"
	// ReasonSiteNotFound: the token is not good for the site any more (HTTP 404).
	ReasonSiteNotFound = "SiteNotFound"
	// ReasonProbeInconclusive: Confluence did not answer, or in an unexpected way, when the token was tried.
	ReasonProbeInconclusive = "ProbeInconclusive"
	// ReasonProbeUnavailable: no read is known that the token's scopes open.
	ReasonProbeUnavailable = "ProbeUnavailable"
	// ReasonSessionEnded: the zone refuses the refresh token of the person's session.
	ReasonSessionEnded = "SessionEnded"
	// ReasonSubjectTokenRejected: the zone refuses the access token of the person that the spec refers to.
	ReasonSubjectTokenRejected = "SubjectTokenRejected"
	// ReasonServiceAccountNotFound: the ServiceAccount that the spec names does not exist. Creating it is enough.
	ReasonServiceAccountNotFound = "ServiceAccountNotFound"
	// ReasonTokenRequestRefused: the cluster does not let the operator request a token for the ServiceAccount.
	ReasonTokenRequestRefused = "TokenRequestRefused"
	// ReasonNoAccessibleSites: the grant covers no Atlassian site.
	ReasonNoAccessibleSites = "NoAccessibleSites"
	// ReasonSiteNotAccessible: the grant does not cover the site that the spec names.
	ReasonSiteNotAccessible = "SiteNotAccessible"
	// ReasonSiteAmbiguous: the grant covers several sites, and the spec names none.
	ReasonSiteAmbiguous = "SiteAmbiguous"
	// ReasonAtlassianUnreachable: Atlassian's API does not answer, or answers with an error of its own.
	ReasonAtlassianUnreachable = "AtlassianUnreachable"
	// ReasonScopeNotOffered: the spec asks for a scope the KeycardResource does not offer.
	ReasonScopeNotOffered = "ScopeNotOffered"
	// ReasonScopeReduced: the zone granted fewer scopes than the spec asks for.
	ReasonScopeReduced = "ScopeReduced"
	// ReasonSynced: the Secret holds the token.
	ReasonSynced = "Synced"
	// ReasonSecretConflict: a Secret of that name exists and belongs to somebody else.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretWriteFailed: the cluster refused the write of the Secret.
	ReasonSecretWriteFailed = "SecretWriteFailed"
	// ReasonRestarted: the workloads were restarted for the token in the Secret.
	ReasonRestarted = "Restarted"
	// ReasonRestartNotNeeded: the token has not changed since spec.restart was set.
	ReasonRestartNotNeeded = "RestartNotNeeded"
	// ReasonRestartPending: the token changed, and the last restart is too recent for another.
	ReasonRestartPending = "RestartPending"
	// ReasonRestartForbidden: the operator may not patch a workload. The message has the command that permits it.
	ReasonRestartForbidden = "RestartForbidden"
	// ReasonRestartTargetNotFound: a workload that spec.restart names does not exist.
	ReasonRestartTargetNotFound = "RestartTargetNotFound"
	// ReasonRestartFailed: the cluster failed or refused the patch of a workload. Retried.
	ReasonRestartFailed = "RestartFailed"
)

// Reasons of events that are not reasons of conditions.
const (
	// EventTokenIssued: the first token, or the first one after a failure, is in the Secret.
	EventTokenIssued = "TokenIssued"
	// EventDriftCorrected: the zone differed from the spec and was put right. The message names the fields.
	EventDriftCorrected = "DriftCorrected"
	// EventOAuthAppRotated: a changed OAuth app was sent to the zone.
	EventOAuthAppRotated = "OAuthAppRotated"
	// EventOrphaned: objects of the operator stay in the zone, because they could not be removed.
	EventOrphaned = "ExternalObjectOrphaned"
)
