// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// NotAdmitted is for spec.resourceRef. It says the same of a KeycardResource that does not exist and of one that does not admit
// the namespace. unwatched is true where no watch reports the end of it.
func NotAdmitted(resource types.NamespacedName, namespace string, unwatched bool) *Problem {
	p := waiting(v1alpha1.ReasonResourceNotFound, say("KeycardResource %s does not exist or does not admit namespace %s", resource, namespace),
		"Correct spec.resourceRef, or have its owner allow the namespace in allowedNamespaces")
	if unwatched {
		p.Kind = KindTransient
	}
	return p
}

// ResourceNotReady is for a KeycardResource that was never registered in its zone.
func ResourceNotReady(resource types.NamespacedName) *Problem {
	return waiting(v1alpha1.ReasonResourceNotReady, say("KeycardResource %s is not registered in its zone yet", resource), "Look at its conditions")
}

// ResourceEnding is for a KeycardResource that is being deleted.
func ResourceEnding(resource types.NamespacedName) *Problem {
	return waiting(v1alpha1.ReasonResourceNotReady, say("KeycardResource %s is being deleted", resource), "Name another one in spec.resourceRef")
}

// ScopeNotOffered is for scopes of the spec that the KeycardResource does not offer.
func ScopeNotOffered(resource string, missing, offered []string) *Problem {
	return blocked(v1alpha1.ReasonScopeNotOffered, say("KeycardResource %s does not offer %s, but %s", resource, list(missing), list(offered)),
		"Change spec.scopes here, or in the KeycardResource")
}

// ScopeReduced is for a token with fewer scopes than the spec asks for.
func ScopeReduced(missing []string) *Problem {
	return needsPerson(v1alpha1.ReasonScopeReduced, say("The zone granted a token without %s", list(missing)),
		"Have the person consent to it and the zone's policies permit it, or set spec.reducedScopes to Accept")
}

// ConsentOfUser is for spec.subject.user. err is the zone's refusal.
func ConsentOfUser(user, resource string, err error) *Problem {
	return needsPerson(v1alpha1.ReasonConsentRequired, say("%s has not consented to the resource %s", user, resource),
		"Have them consent to it once").quoting(err)
}

// AtPage is the problem of a missing consent with the consent page as the remedy.
func (p *Problem) AtPage() *Problem {
	return p.remedied("Have them open status.consentURL and consent once")
}

// WithCommand is the problem of a missing consent with a command as the remedy.
func (p *Problem) WithCommand(command string) *Problem {
	return p.remedied(say("Have them consent once: run %s", command))
}

func (p *Problem) remedied(remedy string) *Problem {
	other := *p
	other.Remedy = remedy
	return &other
}

// ConsentOfTokenOwner is for the other subjects that are persons. what is theirs, such as "session", and is in a key of a Secret.
func ConsentOfTokenOwner(what, key, secret, resource string, err error) *Problem {
	return needsPerson(v1alpha1.ReasonConsentRequired,
		say("The person whose %s is in key %s of Secret %s has not consented to the resource %s", what, key, secret, resource),
		"Have them consent when they next sign in to its application").quoting(err)
}

// ConsentOfApplication is for an application that acts for itself.
func ConsentOfApplication(err error) *Problem {
	return needsPerson(v1alpha1.ReasonConsentRequired, "The resource needs a person's consent, and this application acts for itself",
		"Name a person in spec.subject.user, or ask for a resource that needs no consent").quoting(err)
}

// UserUnknown is for spec.subject.user, when the zone has no user of that identifier or e-mail address.
func UserUnknown(user string) *Problem {
	return needsPerson(v1alpha1.ReasonConsentRequired, say("The zone knows no user with the identifier or e-mail address %s", user),
		"Have them sign in to the zone and consent to the resource once")
}

// UserUnverified is for an e-mail address that its user never verified.
func UserUnverified(email string) *Problem {
	return needsPerson(v1alpha1.ReasonUserNotIdentified, say("The zone's user with the e-mail address %s has not verified it", email),
		"Have them verify it, or write their identifier in the zone into spec.subject.user")
}

// UserAmbiguous is for an e-mail address of several users.
func UserAmbiguous(email string, users int) *Problem {
	return needsPerson(v1alpha1.ReasonUserNotIdentified, say("%d users of the zone have the e-mail address %s", users, email),
		"Write the identifier of the one that you mean into spec.subject.user")
}

// UserIdentifierTooLong is for a user whose identifier has more than most bytes.
func UserIdentifierTooLong(email string, most int) *Problem {
	return needsPerson(v1alpha1.ReasonUserNotIdentified, say("The zone's user with the e-mail address %s has an identifier of more than %d bytes", email, most),
		"Give them a shorter one in the zone")
}

// WithoutLookUp is a refusal of a user who could not be looked up by their e-mail address, for another problem.
func (p *Problem) WithoutLookUp(lookup *Problem) *Problem {
	more := *p
	more.Remedy = say("%s. The user could not be looked up by the e-mail address: %s. %s", p.Remedy, lookup.Cause, lookup.Remedy)
	return &more
}

// SubjectTokenRejected is for spec.subject.accessTokenSecretRef. err is the zone's refusal.
func SubjectTokenRejected(secret types.NamespacedName, key string, err error) *Problem {
	return needsPerson(v1alpha1.ReasonSubjectTokenRejected, say("The zone refuses the access token in key %s of Secret %s", key, secret),
		"Put a fresh one there: of this zone, issued for the binding's application").quoting(err)
}

// SessionEnded is for spec.subject.refreshTokenSecretRef. err is the zone's refusal.
func SessionEnded(secret types.NamespacedName, key string, err error) *Problem {
	return needsPerson(v1alpha1.ReasonSessionEnded, say("The zone refuses the refresh token in key %s of Secret %s", key, secret),
		"Have the person sign in again, and put their new refresh token there").quoting(err)
}

// SessionReplaced is for a session that another program replaced while the operator renewed it.
func SessionReplaced(secret types.NamespacedName) *Problem {
	return passing(v1alpha1.ReasonSecretConflict, say("Another program put another session into Secret %s a moment ago", secret),
		"The operator retries with it. If this lasts, stop the other program")
}

// SessionImmutable is for the Secret of a session that can't be changed.
func SessionImmutable(secret string) *Problem {
	return blocked(v1alpha1.ReasonSecretInvalid, say("Secret %s can't be changed, and the zone replaces refresh tokens", secret),
		"Create it anew, without immutable")
}

// WorkloadNotRegistered is for a ServiceAccount that the KeycardResource is about to register. err is the zone's refusal.
func WorkloadNotRegistered(account string, err error) *Problem {
	return passing(v1alpha1.ReasonClientRejected, say("The zone does not accept ServiceAccount %s yet", account),
		"Wait until the KeycardResource has registered it").quoting(err)
}

// WorkloadRejected is for a ServiceAccount that the zone does not accept. err is its refusal.
func WorkloadRejected(account string, err error) *Problem {
	return needsPerson(v1alpha1.ReasonClientRejected, say("The zone does not accept ServiceAccount %s", account),
		"Check workloadRegistration of the KeycardResource, that the zone can read the cluster's keys, and both clocks").quoting(err)
}

// Line is why a binding waits for others.
type Line int

// The lines.
const (
	ZoneFull Line = iota
	ZonePaused
	LookUpsFull
)

const slots = "raise --concurrency of the operator"

// lines say what each is, and what to do if it lasts. More exchanges at once would not end a zone's pause.
var lines = map[Line]struct{ cause, ifItLasts string }{
	ZoneFull:    {"As many exchanges are under way at the zone as may be", slots},
	ZonePaused:  {"The zone asked for a pause", "ask the zone's administrator"},
	LookUpsFull: {"As many users are being looked up in the zone as may be", slots},
}

// InLine is for a binding that waits for its turn.
func InLine(line Line) *Problem {
	l := lines[line]
	return waiting(v1alpha1.ReasonThrottled, l.cause, "The operator retries when it is the binding's turn. If this lasts, "+l.ifItLasts)
}

// TooManyTokens is for a binding that had too many tokens in a short time. why is the reason for the last one.
func TooManyTokens(why, secret string, after time.Duration) *Problem {
	return throttled(after, say("Too many tokens were issued in a short time, the last because %s", why),
		say("Find what changes Secret %s, or asks for tokens so often", secret))
}

// TokenUnsendable is for a token that no file can hold. err is tokenfile's.
func TokenUnsendable(err error) *Problem {
	return needsPerson(v1alpha1.ReasonTokenUnusable, "The zone issued a token that no client can send",
		"Ask the zone's administrator to correct the zone or its provider").quoting(err)
}

// NoAccessibleSites is for a grant that covers no Confluence site.
func NoAccessibleSites() *Problem {
	return needsPerson(v1alpha1.ReasonNoAccessibleSites, "The grant covers no Confluence site",
		"Have the person revoke the grant, consent again, and pick a site in Atlassian's consent screen")
}

// SiteNotAccessible is for spec.site.url.
func SiteNotAccessible(wanted string, covered []string) *Problem {
	return needsPerson(v1alpha1.ReasonSiteNotAccessible, say("The grant does not cover %s, but %s", wanted, list(covered)),
		"Correct spec.site.url, or have the person consent again and pick that site")
}

// SiteAmbiguous is for a grant that covers several sites, without spec.site.
func SiteAmbiguous(covered []string) *Problem {
	return needsPerson(v1alpha1.ReasonSiteAmbiguous, say("The grant covers several sites: %s", list(covered)), "Name one of them in spec.site.url")
}

// RefreshFailing is for a token that works, while another problem keeps the next one away.
func RefreshFailing(p *Problem) *Problem {
	return p.during(v1alpha1.ReasonRefreshFailing, "The token works, the next one fails")
}

// TokenExpiring is RefreshFailing of a token that is about to expire.
func TokenExpiring(p *Problem) *Problem {
	return p.during(v1alpha1.ReasonTokenExpiring, "The token is about to expire, the next one fails")
}

// TokenExpired is RefreshFailing of a token that has expired.
func TokenExpired(p *Problem) *Problem {
	return p.during(v1alpha1.ReasonTokenExpired, "The token has expired, the next one fails")
}

// NoNewerToken is for a token that has expired while the zone hands out the same one again.
func NoNewerToken() *Problem {
	return passing(v1alpha1.ReasonTokenExpired, "The token has expired, and the zone has issued no newer one", retries("the token lifetime of the resource in the zone"))
}

// LifetimeTooShort is for tokens that live so short that a mounted file, which follows within delay, can be behind.
func LifetimeTooShort(lifetime, delay, enough time.Duration) *Problem {
	return needsPerson(v1alpha1.ReasonLifetimeTooShort, say("The zone's tokens live %s, and mounted files follow up to %s late: pods can see an expired one", lifetime, delay),
		say("Have the zone issue tokens that live %s or longer", enough))
}

// OddLifetime is for a token whose lifetime the zone announced oddly. life is how long the token is taken to live. The text does not
// vary from token to token.
func OddLifetime(l keycard.Lifetime, life time.Duration) *Problem {
	if l.ClockSkew != 0 && l.Source != keycard.LifetimeAssumed {
		return needsPerson(v1alpha1.ReasonClockSkew, say("The clocks disagree: the token's exp claim %s, so it lives %s", skewed(l), life),
			"Check the time on the cluster's nodes, and the zone's")
	}
	cause, known := announcements[l.Announced]
	switch {
	case l.Source == keycard.LifetimeCapped:
		cause = "The zone announced a lifetime of over 24 hours"
	case !known:
		cause = "The zone announced an odd lifetime"
	case l.Source == keycard.LifetimeFromClaim:
		cause += "; used the token's exp claim"
	case l.ClockSkew != 0:
		cause += "; the token's exp claim has passed, by this clock"
	}
	return needsPerson(v1alpha1.ReasonLifetimeUnknown, say("%s; the token is taken to live %s", cause, life), "Tell the zone's administrator")
}

// announcements say what the zone sent in place of a lifetime.
var announcements = map[keycard.Announcement]string{
	keycard.AnnouncementMissing:     "The zone's expires_in is missing",
	keycard.AnnouncementNotPositive: "The zone's expires_in is not positive",
	keycard.AnnouncementNotANumber:  "The zone's expires_in is not a number",
}

func skewed(l keycard.Lifetime) string {
	switch {
	case l.Source == keycard.LifetimeFromClaim:
		return "is earlier than expires_in; used the claim"
	case l.ClockSkew < 0:
		return "has passed, by this clock; used expires_in"
	}
	return "is later than expires_in; used expires_in"
}

// probes are what came of trying a token at Confluence. The texts hold nothing of the answer: they are the same each time.
var probes = map[string]struct {
	kind       Kind
	is, remedy string
}{
	v1alpha1.ReasonTokenRefused: {
		KindPerson, "Confluence refuses the token (HTTP 401): its grant has ended, or was revoked at Atlassian", "Have the person consent again",
	},
	v1alpha1.ReasonScopeMismatch: {
		KindPerson, "Confluence refuses the token for its scopes (HTTP 401)",
		"Add the scopes to the app in Atlassian's developer console, then have the person consent again",
	},
	v1alpha1.ReasonAccessForbidden: {
		KindPerson, "Confluence forbids the access (HTTP 403)",
		"Ask the site's administrator to give the person access, and to admit the app in the site's app access policy",
	},
	v1alpha1.ReasonSiteNotFound: {
		KindPerson, "The token is not good for this site any more (HTTP 404)", "Correct spec.site.url, or have the person consent again and pick that site",
	},
	v1alpha1.ReasonProbeInconclusive: {
		KindTransient, "Confluence did not answer as expected when the token was tried",
		"The operator tries the next token again. If this lasts, check proxies on the way",
	},
	v1alpha1.ReasonProbeUnavailable: {
		KindWaiting, "The token was not tried: its scopes open no small read of Confluence", "To have it tried, add a scope such as read:page:confluence",
	},
}

// Probed is for a token that Confluence did not accept when it was tried. Its kind is KindPerson when Confluence refuses the token.
// reason is one of condition Verified; it is nil for one that is no problem.
func Probed(reason string) *Problem {
	found, ok := probes[reason]
	if !ok {
		return nil
	}
	return &Problem{Kind: found.kind, Reason: reason, Cause: found.is, Remedy: found.remedy}
}

// Restart is what a restart of workloads did not reach. The lists name workloads, such as "Deployment a".
type Restart struct {
	Missing, Failed, Forbidden []string
	// Why is the first failure, Passes is true when all failures may pass by themselves, and Permit is the command that permits
	// the operator what is forbidden.
	Why, Permit string
	Passes      bool
}

// RestartIncomplete is for spec.restart. It is nil when all workloads were reached.
func RestartIncomplete(r Restart) *Problem {
	p := &Problem{}
	add := func(kind Kind, reason string, names []string, is, remedy string) {
		if len(names) == 0 {
			return
		}
		cause := say(is, list(names), r.Why)
		if p.Cause != "" {
			cause = p.Message() + ". " + cause
		}
		p = &Problem{Kind: kind, Reason: reason, Cause: cause, Remedy: remedy}
	}
	add(KindBlocked, v1alpha1.ReasonRestartTargetNotFound, r.Missing, "%[1]s does not exist", "Create it, or correct spec.restart.targets")
	if r.Passes {
		add(KindTransient, v1alpha1.ReasonRestartFailed, r.Failed, "The cluster failed to restart %s (%s)", retries("the Kubernetes API"))
	} else {
		add(KindPerson, v1alpha1.ReasonRestartFailed, r.Failed, "The cluster refuses to restart %s (%s)", "Check admission policies and webhooks")
	}
	add(KindPerson, v1alpha1.ReasonRestartForbidden, r.Forbidden, "The operator may not restart %[1]s", "Permit it: run "+r.Permit)
	if p.Cause == "" {
		return nil
	}
	return p
}

// RestartPending is for a restart that waits for spec.restart.minInterval.
func RestartPending() *Problem {
	return waiting(v1alpha1.ReasonRestartPending, "The token changed, and the last restart is more recent than spec.restart.minInterval",
		"Wait, or shorten it if programs keep expired tokens")
}
