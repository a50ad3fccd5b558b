// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"errors"

	"k8s.io/apimachinery/pkg/types"

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
	lookUp := problem.Of(c.Person.failed)
	if lookUp.Passes() && lookUp.Reason != v1alpha1.ReasonClusterError {
		return lookUp
	}
	return p.WithoutLookUp(lookUp)
}

// refusal is the problem that an answer of the zone is.
func (c Context) refusal(remote *keycard.Error) *problem.Problem {
	p, _ := problem.FromKeycard(remote)
	account, subject := c.Binding.Spec.Application.ServiceAccountName, c.Binding.Spec.Subject
	switch {
	case p.Reason == v1alpha1.ReasonConsentRequired:
		return c.noConsent(remote)
	case subject.AccessTokenSecretRef != nil && refusesSubject(remote):
		ref := subject.AccessTokenSecretRef
		return problem.SubjectTokenRejected(types.NamespacedName{Namespace: c.Binding.Namespace, Name: ref.Name}, ref.Key, remote)
	case p.Reason == v1alpha1.ReasonClientRejected && account != "" && c.Registers && c.Failures < registrationAttempts:
		return problem.WorkloadNotRegistered(account, remote)
	case p.Reason == v1alpha1.ReasonClientRejected && account != "":
		return problem.WorkloadRejected(account, remote)
	case p.Reason == v1alpha1.ReasonRequestRejected && c.Person.unknown:
		return problem.UserUnknown(c.Person.Identifier)
	}
	return p
}

// refusesSubject reports whether the zone refuses the token that is to be exchanged. It has other
// codes for what else of the request can be wrong.
func refusesSubject(remote *keycard.Error) bool {
	return remote.Code == "invalid_grant" || remote.Code == "invalid_request"
}

// noConsent says who has to consent. Only a binding that names its user has a page for them: the others know no more of the
// person than that the token is theirs, and consent to the resource is asked for where they sign in.
func (c Context) noConsent(remote *keycard.Error) *problem.Problem {
	subject := c.Binding.Spec.Subject
	switch {
	case subject.User != "":
		return problem.ConsentOfUser(subject.User, c.Resource, remote)
	case subject.AccessTokenSecretRef != nil:
		return problem.ConsentOfTokenOwner("access token", subject.AccessTokenSecretRef.Key, subject.AccessTokenSecretRef.Name, c.Resource, remote)
	case subject.RefreshTokenSecretRef != nil:
		return problem.ConsentOfTokenOwner("session", subject.RefreshTokenSecretRef.Key, subject.RefreshTokenSecretRef.Name, c.Resource, remote)
	}
	return problem.ConsentOfApplication(remote)
}
