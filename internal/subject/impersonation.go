// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"cmp"
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// A zone knows people by an identifier, which is its own unless its identity provider names
// another. People know each other by e-mail addresses. So an address in spec.subject.user is looked
// up, once: what was found is remembered in status.

const (
	// peopleKept bounds how many people are remembered, and peopleFresh for how long: addresses can
	// change hands.
	peopleKept, peopleFresh = 4096, 10 * time.Minute
	// longestIdentifier is what spec.subject.user may have: one that is longer could not be written
	// there.
	longestIdentifier = 1024
	// lookUpTimeout bounds a look-up.
	lookUpTimeout = 15 * time.Second
)

// address is an e-mail address as an install's spec of a generation has it looked up: bindings of
// one user are often made together. What one install's management API answers says nothing to
// another, whatever zone both name.
type address struct {
	install    types.UID
	generation int64
	email      string
}

// Person is whom a token is asked for.
type Person struct {
	// Identifier is what the zone is told.
	Identifier string
	// Found is the identifier that the zone confirmed; "" when what the user wrote is used as it
	// is.
	Found string
	// unknown is true when the zone has no one with that address, and failed why it could not be
	// asked.
	unknown bool
	failed  error
}

// Impersonation acts for a person who is named. The zone's policies permit it, and the person has
// consented.
type Impersonation struct {
	*Inputs
	facts  Facts
	person Person
}

// impersonation names the person without asking anyone, if that can be. After a refusal they are
// looked up anew: they may have been removed and have come back.
func (i *Inputs) impersonation(f Facts) *Impersonation {
	s := &Impersonation{Inputs: i, facts: f}
	written := i.binding.Spec.Subject.User
	switch {
	case !strings.Contains(written, "@"):
		s.person.Identifier = written
	case f.Refused:
	case f.Known != "":
		s.person = Person{Identifier: f.Known, Found: f.Known}
	default:
		if known, ok := i.people.Get(s.address()); ok {
			s.person = known.(Person) //nolint:forcetypeassert // nothing else is kept there
		}
	}
	return s
}

// Person returns whom the token is asked for. Its Identifier is "" until LookUp was called, where
// that is needed: LookUp asks the management API, which is another server than the token endpoint
// and may be slow.
func (s *Impersonation) Person() Person { return s.person }

func (s *Impersonation) address() address {
	return address{s.facts.Install.UID, s.facts.Install.Generation, s.binding.Spec.Subject.User}
}

// LookUp asks for the person. A management API that can't be asked is no reason to give up, because
// the address may be the identifier. The error is a *problem.Problem.
func (s *Impersonation) LookUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	written := s.binding.Spec.Subject.User
	users, err := s.usersByEmail(ctx, written)
	if err != nil {
		log.FromContext(ctx).Info("could not look the user up; what was known is tried", "cause", err.Error())
		s.person = Person{Identifier: cmp.Or(s.facts.Known, written), Found: s.facts.Known, failed: err}
		return nil
	}
	if s.person, err = choosePerson(written, users); s.person.Found != "" {
		s.people.Add(s.address(), s.person, peopleFresh)
	}
	return err
}

// usersByEmail asks the management API, as the install's service account.
func (s *Impersonation) usersByEmail(ctx context.Context, email string) ([]keycard.User, error) {
	zone := &s.facts.Install.Spec.Zone
	management, _, err := zones.Management(ctx, s.deps.Live, s.deps.Zones, s.facts.Install.Namespace, zone)
	if err != nil {
		return nil, err
	}
	return management.ReadOnly().ListUsersByEmail(ctx, zone.ID, email)
}

// choosePerson picks one of the users with the address that was written. An address that no one
// verified could be anyone's.
func choosePerson(written string, users []keycard.User) (Person, error) {
	var verified []keycard.User
	for _, u := range users {
		if u.Identifier == written {
			return Person{Identifier: written, Found: written}, nil
		}
		if u.EmailVerified && u.Identifier != "" {
			verified = append(verified, u)
		}
	}
	switch {
	case len(users) == 0:
		return Person{Identifier: written, unknown: true}, nil
	case len(verified) == 0:
		return Person{}, problem.UserUnverified(written)
	case len(verified) > 1:
		return Person{}, problem.UserAmbiguous(written, len(verified))
	}
	identifier := verified[0].Identifier
	if len(identifier) > longestIdentifier {
		return Person{}, problem.UserIdentifierTooLong(written, longestIdentifier)
	}
	return Person{Identifier: identifier, Found: identifier}, nil
}

// Token implements Subject.
func (s *Impersonation) Token(ctx context.Context, at Zone) (keycard.Token, error) {
	auth, err := s.clientAuth(ctx, at.Issuer)
	if err != nil {
		return keycard.Token{}, err
	}
	token, err := keycard.ImpersonationToken(s.person.Identifier)
	if err != nil {
		return keycard.Token{}, err
	}
	return exchange(ctx, at, keycard.ExchangeRequest{ClientAuth: auth, SubjectToken: token, SubjectTokenType: keycard.TokenTypeSubstituteUser})
}
