// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// UnknownCatalogEntry is for spec.catalogEntry. offer is what it can be instead: the nearest names, or all.
func UnknownCatalogEntry(name string, offer []string) *Problem {
	return blocked(v1alpha1.ReasonUnknownCatalogEntry, say("The catalog has no entry %q", name), oneOf(offer))
}

// UnknownScope is for scopes of the spec that the catalog entry does not have. offer is as in UnknownCatalogEntry.
func UnknownScope(entry string, unknown, offer []string) *Problem {
	return blocked(v1alpha1.ReasonUnknownScope, say("Catalog entry %s has no scope %s", entry, list(unknown)), oneOf(offer))
}

func oneOf(offer []string) string {
	if len(offer) == 1 {
		return "Use " + offer[0]
	}
	return "Use one of " + strings.Join(offer, ", ")
}

// OAuthApp is what a person needs to know to make one at the upstream.
type OAuthApp struct {
	Provider, DocsURL, RedirectURI string
	Scopes                         []string
}

// OAuthAppNotFound walks the person through making the OAuth app and its Secret.
func OAuthAppNotFound(secret types.NamespacedName, app OAuthApp) *Problem {
	return waiting(v1alpha1.ReasonSecretNotFound, say("Secret %s does not exist", secret),
		say("Make an OAuth 2.0 app at %s (%s) with the callback URL %s and the scopes %s. Create the Secret with its %s and %s",
			app.Provider, app.DocsURL, app.RedirectURI, strings.Join(app.Scopes, " "), v1alpha1.ClientIDKey, v1alpha1.ClientSecretKey))
}

// ZoneNotFound is for spec.zone.id.
func ZoneNotFound(id string) *Problem {
	return needsPerson(v1alpha1.ReasonRequestRejected, say("The service account sees no zone %q", id),
		"Correct spec.zone.id, or ask the zone's administrator to let the service account manage it")
}

// ZoneBusy is for an install that waited in vain for others of its zone.
func ZoneBusy() *Problem {
	return passing(v1alpha1.ReasonProgressingWithRetry, "Other KeycardResources of the zone are being worked on",
		retries("whether the management API is slow"))
}

// ObjectJustMade is for an object that appeared in the zone since it was looked for. kind is such as "provider".
func ObjectJustMade(kind string) *Problem {
	return passing(v1alpha1.ReasonProgressingWithRetry, say("Another program created the %s a moment ago", kind),
		retries("which other program manages the zone"))
}

// NotRegistered is for an object that the zone does not have and an observing install does not create.
func NotRegistered(object, identifier string) *Problem {
	return needsPerson(v1alpha1.ReasonNotRegistered,
		say("The zone has no %s with the identifier %s, and spec.managementPolicy is Observe", object, identifier),
		"Create it in the zone, or set managementPolicy to Manage")
}

// Drifted is for a zone that an observing install leaves as it is. found names the objects and fields that differ.
func Drifted(found string) *Problem {
	return needsPerson(v1alpha1.ReasonDrifted, say("The zone differs from the spec in %s, and spec.managementPolicy is Observe", found),
		"Change the zone or the spec, or set managementPolicy to Manage")
}

// Provider is the zone's provider for an upstream, which all its resources share.
type Provider struct {
	Name, ClientID string
	// Owner is the KeycardResource that made it; zero when the operator did not.
	Owner types.NamespacedName
}

func (p Provider) String() string {
	if p.Owner.Name == "" {
		return say("provider %q (not made by the operator)", p.Name)
	}
	return say("provider %q of KeycardResource %s", p.Name, p.Owner)
}

// ProviderOfOtherApp is for a provider that has another OAuth app than the install. clientID is the install's.
func ProviderOfOtherApp(p Provider, clientID string) *Problem {
	return needsPerson(v1alpha1.ReasonProviderConflict, say("The zone's %s has the OAuth app %q, not %q", p, p.ClientID, clientID),
		"Use the same app, or agree with the provider's owner to change it")
}

// ProviderWithoutSecret is for a provider that lacks the client secret of the OAuth app.
func ProviderWithoutSecret(p Provider) *Problem {
	return needsPerson(v1alpha1.ReasonProviderConflict, say("The zone's %s has this OAuth app without its client secret", p),
		"Set the client secret of the provider in the zone")
}

// IdentifierOfPlatform is for a resource that is Keycard's own.
func IdentifierOfPlatform(identifier string) *Problem {
	return needsPerson(v1alpha1.ReasonIdentifierInUse, say("Resource %s belongs to the Keycard platform, and no one can change it", identifier),
		"Set spec.managementPolicy to Observe to use it as it is")
}

// IdentifierInUse is for a resource of the zone that the install did not make. owner is the KeycardResource that did; zero when
// none did.
func IdentifierInUse(name, identifier string, owner types.NamespacedName) *Problem {
	if owner.Name != "" {
		return needsPerson(v1alpha1.ReasonIdentifierInUse, say("The zone's resource %q (%s) belongs to KeycardResource %s", name, identifier, owner),
			"Use that one. If it is gone, set spec.adoptionPolicy to Adopt here")
	}
	return needsPerson(v1alpha1.ReasonIdentifierInUse, say("The zone's resource %q (%s) was not made by this KeycardResource", name, identifier),
		"Set spec.adoptionPolicy to Adopt, or remove it in the zone if no one uses it")
}

// ApplicationNotOurs is for an application that has an identifier of the operator's. marker is what marks those of the operator.
func ApplicationNotOurs(name, identifier, marker string) *Problem {
	return needsPerson(v1alpha1.ReasonApplicationConflict, say("The zone's application %q (%s) was not made by the operator", name, identifier),
		say("Put %s into its description to hand it over, or remove it if no one uses it", marker))
}

// ApplicationsNotFound is for spec.applications.
func ApplicationsNotFound(identifiers []string) *Problem {
	return needsPerson(v1alpha1.ReasonApplicationNotFound, say("The zone has no application with the identifier %s", list(identifiers)),
		"Register it in the zone, or remove it from spec.applications")
}

// PolicySetPending is for a zone that is still being made.
func PolicySetPending() *Problem {
	return passing(v1alpha1.ReasonProgressingWithRetry, "The zone is new and has no active policy set yet", retries("the zone's policy sets"))
}

// NoPolicySet is for a zone without a policy set in force.
func NoPolicySet() *Problem {
	return needsPerson(v1alpha1.ReasonRequestRejected, "The zone has no active policy set", "Activate one in the zone")
}

// PolicyInvalid is for the text of a policy of the spec. detail is in the zone's words.
func PolicyInvalid(index int, name, detail string) *Problem {
	p := needsPerson(v1alpha1.ReasonPolicyInvalid, say("The zone refuses spec.policies[%d].cedar (policy %s)", index, name),
		"Correct it; what was in force stays in force")
	p.Detail = detail
	return p
}

// InUse is for a deletion that waits for bindings to go first. users are namespace/name, and patience is how long it waits.
func InUse(users []string, patience time.Duration) *Problem {
	return waiting(v1alpha1.ReasonInUse, say("It is being deleted while ConfluenceTokenBindings use it: %s", list(users)),
		say("Delete them, or wait %s: then they stop being refreshed", patience))
}

// Removing is for a deletion that can't remove the objects from the zone, for another problem.
func Removing(p *Problem) *Problem {
	return p.during(v1alpha1.ReasonDeleting, "The objects in the zone can't be removed")
}

// during is the problem under another reason. It says first what goes wrong because of it.
func (p *Problem) during(reason, what string) *Problem {
	more := *p
	more.Reason, more.Cause = reason, say("%s (%s). %s", what, p.Reason, p.Cause)
	return &more
}
