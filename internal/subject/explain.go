// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"errors"
	"fmt"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Context is what is known about a refused attempt besides the refusal.
type Context struct {
	Binding *v1alpha1.ConfluenceTokenBinding
	// Resource is what a token was asked for.
	Resource string
	// Registers is true where the KeycardResource registers workloads in the zone, and Failures
	// counts attempts in a row that failed before.
	Registers bool
	Failures  int
	// Person is whom the token was asked for, where the binding names a person.
	Person Person
}

// registrationAttempts is how often a workload that the zone does not know is tried again soon: the
// KeycardResource registers it at the same time.
const registrationAttempts = 6

// Explain returns the problem that an error of Subject.Token is, with what the zone can't know: who
// has to consent, which token is no good, whether the workload is being registered, and what came
// of the look-up of the person. An error of the cluster stays as it is.
func Explain(err error, c Context) error {
	if remote, ok := keycard.AsError(err); ok {
		err = c.refusal(remote)
	}
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok || p.Passes() || c.Person.failed == nil {
		return err
	}
	lookUp := problem.Remote(c.Person.failed)
	reason, ok := errors.AsType[*problem.Problem](lookUp)
	switch {
	case ok && reason.Passes():
		return lookUp
	case !ok:
		reason = problem.FromCluster(lookUp)
	}
	more := *p
	more.Message = fmt.Sprintf("%s. The user could not be looked up by the e-mail address: %s", p.Message, reason.Message)
	return &more
}

// refusal is the problem that an answer of the zone is.
func (c Context) refusal(remote *keycard.Error) *problem.Problem {
	p, _ := problem.FromKeycard(remote)
	account, subject := c.Binding.Spec.Application.ServiceAccountName, c.Binding.Spec.Subject
	switch {
	case p.Reason == v1alpha1.ReasonConsentRequired:
		return problem.NeedsPerson(p.Reason, "%s; %s", remote, c.whoConsents())
	case subject.AccessTokenSecretRef != nil && refusesSubject(remote):
		ref := subject.AccessTokenSecretRef
		return problem.NeedsPerson(v1alpha1.ReasonSubjectTokenRejected,
			"%v; put a fresh access token into key %s of Secret %s/%s: one of this zone, issued for the application of the binding", remote, ref.Key, c.Binding.Namespace, ref.Name)
	case p.Reason == v1alpha1.ReasonClientRejected && account != "" && c.Registers && c.Failures < registrationAttempts:
		return problem.Passing(p.Reason, "the zone does not accept ServiceAccount %s yet; the KeycardResource registers it. The zone's answer: %s", account, remote)
	case p.Reason == v1alpha1.ReasonClientRejected && account != "":
		return problem.NeedsPerson(p.Reason, "%s; check that the zone knows ServiceAccount %s (workloadRegistration of the KeycardResource), that it can read the cluster's keys, and that the clocks of both agree",
			remote, account)
	case p.Reason == v1alpha1.ReasonRequestRejected && c.Person.unknown:
		return problem.NeedsPerson(v1alpha1.ReasonConsentRequired,
			"the zone knows nobody with the identifier or e-mail address %s; the person has to sign in to the zone and consent to the resource once", c.Person.Identifier)
	}
	return p
}

// refusesSubject reports whether the zone refuses the token that is to be exchanged. It has other
// codes for what else of the request can be wrong.
func refusesSubject(remote *keycard.Error) bool {
	return remote.Code == "invalid_grant" || remote.Code == "invalid_request"
}

// whoConsents is the remedy for missing consent. Only a binding that names its user has a page for
// them: the others know no more of the person than that the token is theirs, and consent to the
// resource is asked for where they sign in.
func (c Context) whoConsents() string {
	const signsIn = "the person whose %s is in key %s of Secret %s has to consent to the resource %s, the next time she signs in to the application that it is from"
	subject := c.Binding.Spec.Subject
	switch {
	case subject.User != "":
		return fmt.Sprintf("%s has to consent to the resource %s once", subject.User, c.Resource)
	case subject.AccessTokenSecretRef != nil:
		return fmt.Sprintf(signsIn, "access token", subject.AccessTokenSecretRef.Key, subject.AccessTokenSecretRef.Name, c.Resource)
	case subject.RefreshTokenSecretRef != nil:
		return fmt.Sprintf(signsIn, "session", subject.RefreshTokenSecretRef.Key, subject.RefreshTokenSecretRef.Name, c.Resource)
	}
	return "an application that acts for itself has nobody who could consent; name a person in spec.subject.user, or ask the zone's administrator for a resource that needs no consent"
}
