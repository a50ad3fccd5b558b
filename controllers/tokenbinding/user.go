// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// A zone knows people by an identifier, which is its own unless its identity provider names another. People know each other
// by e-mail addresses. So an address in spec.subject.user is looked up, once: what was found is remembered in status.

// people remembers for a while whom e-mail addresses lead to, for each install: bindings of one user are often made together.
// What one install's management API answers says nothing to another, whatever zone both name.
type people struct {
	once sync.Once
	m    *cache.LRUExpireCache
}

const (
	// peopleKept bounds how many are remembered, and peopleFresh for how long: addresses can change hands.
	peopleKept, peopleFresh = 4096, 10 * time.Minute
	// longestIdentifier is what spec.subject.user may have: one that is longer could not be written there.
	longestIdentifier = 1024
)

// addressee is an e-mail address as an install's spec of a generation has it looked up.
type addressee struct {
	install    types.UID
	generation int64
	email      string
}

func (p *people) of(c cache.Clock) *cache.LRUExpireCache {
	p.once.Do(func() { p.m = cache.NewLRUExpireCacheWithClock(peopleKept, c) })
	return p.m
}

// person is whom a token is asked for.
type person struct {
	// identifier is what the zone is told.
	identifier string
	// found is the identifier that the zone confirmed; empty when what the user wrote is used as it is.
	found string
	// unknown tells that the zone has nobody with that address, and failed why it could not be asked.
	unknown bool
	failed  error
}

// identify finds out by which identifier the zone knows the user, if the binding acts for one. A look-up asks the management
// API, which is another server than the token endpoint: it is made before the binding has a place at the zone, so that a slow
// one does not take these. Who could not go to the zone anyway looks nobody up: there may be thousands in line.
func (r *Reconciler) identify(ctx context.Context, s *scope) error {
	if s.binding.Spec.Subject.User == "" {
		return nil
	}
	if known, ok := r.recollect(s); ok {
		s.address(known)
		return nil
	}
	if err := s.inLine(r.Gates.Ask(s.issuer, s.key().String(), s.turn(), s.usable())); err != nil {
		return err
	}
	management := s.install.Spec.Zone.ManagementURL()
	if r.LookUps.Enter(management, s.key().String(), s.turn(), false) != throttle.Go {
		r.Gates.Pass(s.issuer)
		return s.queue("as many users are looked up as may be", s.hasTime() || s.neverIssued())
	}
	defer r.LookUps.Leave(management, throttle.Answer{Answered: true})
	found, err := r.lookUp(ctx, s)
	if err != nil {
		r.Gates.Pass(s.issuer)
		return err
	}
	s.address(found)
	return nil
}

// address notes whom a token is asked for, and remembers what was found of her in status.
func (s *scope) address(p person) { s.person, s.binding.Status.User = p, p.found }

// recollect gives the person without asking anybody, if that can be. After a refusal she is looked up anew: she may have been
// removed and have come back.
func (r *Reconciler) recollect(s *scope) (person, bool) {
	written := s.binding.Spec.Subject.User
	switch before := s.knownUser(); {
	case !strings.Contains(written, "@"):
		return person{identifier: written}, true
	case s.wasRefused():
		return person{}, false
	case before != "":
		return person{identifier: before, found: before}, true
	}
	p, ok := r.people.of(r.Clock).Get(s.addressee())
	if !ok {
		return person{}, false
	}
	return p.(person), true //nolint:forcetypeassert // nothing else is kept there
}

func (s *scope) addressee() addressee {
	return addressee{s.install.UID, s.install.Generation, s.binding.Spec.Subject.User}
}

// lookUp asks for the user. A zone that can't be asked is no reason to give up, because the address may be the identifier.
func (r *Reconciler) lookUp(ctx context.Context, s *scope) (person, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	written := s.binding.Spec.Subject.User
	users, err := r.usersByEmail(ctx, s, written)
	if err != nil {
		log.FromContext(ctx).Info("could not look the user up; what was known is tried", "cause", err.Error())
		before := s.knownUser()
		return person{identifier: cmp.Or(before, written), found: before, failed: err}, nil
	}
	p, err := choosePerson(written, users)
	if p.found != "" {
		r.people.of(r.Clock).Add(s.addressee(), p, peopleFresh)
	}
	return p, err
}

// knownUser is the identifier that was found for this spec at this zone before. It is remembered in status, and not with the
// token: whoever may write Secrets in the namespace would choose whom the operator acts for.
func (s *scope) knownUser() string {
	if s.secret.Held == nil || s.secret.Held.Made.Exchange != s.want.Exchange {
		return ""
	}
	return s.binding.Status.User
}

// wasRefused tells whether the last attempt failed for what a person had to mend: who the user is, and which sites there are,
// may have changed by that.
func (s *scope) wasRefused() bool { return s.attempt.problem != nil && !s.attempt.problem.Passes() }

// choosePerson picks one of the users with the address that was written. An address that nobody verified could be anybody's.
func choosePerson(written string, users []keycard.User) (person, error) {
	var verified []keycard.User
	for _, u := range users {
		if u.Identifier == written {
			return person{identifier: written, found: written}, nil
		}
		if u.EmailVerified && u.Identifier != "" {
			verified = append(verified, u)
		}
	}
	switch {
	case len(users) == 0:
		return person{identifier: written, unknown: true}, nil
	case len(verified) == 0:
		return person{}, problem.NeedsPerson(v1alpha1.ReasonUserNotIdentified,
			"the user of the zone with the e-mail address %s has not verified it; verify it, or write the identifier that the zone shows for the user into spec.subject.user", written)
	case len(verified) > 1:
		return person{}, problem.NeedsPerson(v1alpha1.ReasonUserNotIdentified,
			"%d users of the zone have the e-mail address %s; write the identifier that the zone shows for the one you mean into spec.subject.user", len(verified), written)
	}
	identifier := verified[0].Identifier
	if len(identifier) > longestIdentifier {
		return person{}, problem.NeedsPerson(v1alpha1.ReasonUserNotIdentified,
			"the identifier of the zone's user with the e-mail address %s is longer than %d bytes; give her a shorter one in the zone", written, longestIdentifier)
	}
	return person{identifier: identifier, found: identifier}, nil
}

// usersByEmail asks the management API, as the install's service account.
func (r *Reconciler) usersByEmail(ctx context.Context, s *scope, email string) ([]keycard.User, error) {
	zone := &s.install.Spec.Zone
	management, _, err := zones.Management(ctx, r.Live, r.Zones, s.install.Namespace, zone)
	if err != nil {
		return nil, err
	}
	return management.ReadOnly().ListUsersByEmail(ctx, zone.ID, email)
}

// explain says more of a refusal than the zone can, which was told an identifier.
func (p person) explain(err error) error {
	var refusal *problem.Problem
	if !errors.As(err, &refusal) || refusal.Passes() {
		return err
	}
	if p.unknown && refusal.Reason == v1alpha1.ReasonRequestRejected {
		return problem.NeedsPerson(v1alpha1.ReasonConsentRequired,
			"the zone knows nobody with the identifier or e-mail address %s; the person has to sign in to the zone and consent to the resource once", p.identifier)
	}
	if p.failed == nil {
		return err
	}
	lookup := problem.Remote(p.failed)
	var passing *problem.Problem
	if errors.As(lookup, &passing) && passing.Passes() {
		return lookup
	}
	more := *refusal
	more.Message = fmt.Sprintf("%s. The user could not be looked up by the e-mail address: %s", refusal.Message, problemText(lookup))
	return &more
}

// problemText is what of an error may be shown.
func problemText(err error) string {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p.Message
	}
	return problem.FromCluster(err).Message
}
