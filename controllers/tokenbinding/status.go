// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/status"
)

func (s *scope) conditions() status.Conditions {
	return status.Conditions{List: &s.binding.Status.Conditions, Generation: s.binding.Generation}
}

// progressing is the first status an object gets, before anything remote is asked.
func (s *scope) progressing() {
	s.binding.Status.ObservedGeneration = s.binding.Generation
	c := s.conditions()
	c.Set(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "waiting for the first token")
	c.Reconciling(v1alpha1.ReasonProgressing, "waiting for the first token")
}

// report turns what the reconcile found into status. It depends on the scope alone, and its texts hold
// neither times nor counts, so the same findings give the same status.
func (s *scope) report(at step, p *problem.Problem) {
	s.reportFacts()
	c := s.conditions()
	s.reportResource(c, at, p)
	s.reportToken(c, at, p)
	s.reportSecret(c, at, p)
	s.reportVerified(c)
	s.reportReady(c, p)
}

// The bounds of status.scopes.
const maxScope, maxScopes = 128, 100

func (s *scope) reportFacts() {
	st := &s.binding.Status
	st.ObservedGeneration = s.binding.Generation
	st.IssuedAt, st.ExpiresAt, st.RefreshAt, st.Scopes, st.Site = nil, nil, nil, nil, nil
	if s.secret.Held == nil {
		return
	}
	st.IssuedAt = &metav1.Time{Time: s.secret.Held.Life.IssuedAt}
	st.ExpiresAt = &metav1.Time{Time: s.secret.Held.Life.ExpiresAt}
	if !s.suspended() {
		st.RefreshAt = &metav1.Time{Time: s.refreshAt()}
	}
	for _, scope := range s.secret.Held.Scopes {
		if len(scope) <= maxScope && len(st.Scopes) < maxScopes { // what the schema admits
			st.Scopes = append(st.Scopes, v1alpha1.Scope(scope))
		}
	}
	if s.secret.Held.CloudID != "" {
		st.Site = &v1alpha1.SiteStatus{URL: s.secret.Held.SiteURL, CloudID: s.secret.Held.CloudID}
	}
}

func (s *scope) reportResource(c status.Conditions, at step, p *problem.Problem) {
	switch {
	case at == stepResource && p != nil:
		c.Set(v1alpha1.ConditionResourceReady, metav1.ConditionFalse, p.Reason, p.Message)
	case s.want.Exchange != "":
		c.Set(v1alpha1.ConditionResourceReady, metav1.ConditionTrue, v1alpha1.ReasonResourceRegistered, "the KeycardResource is registered and admits this namespace")
	default:
		s.pend(c, v1alpha1.ConditionResourceReady)
	}
}

func (s *scope) reportToken(c status.Conditions, at step, p *problem.Problem) {
	set := func(status metav1.ConditionStatus, reason, message string) {
		c.Set(v1alpha1.ConditionTokenIssued, status, reason, message)
	}
	s.binding.Status.RefreshProblem = ""
	switch usable := s.usable(); {
	case usable && s.nextFails(at, p):
		s.binding.Status.RefreshProblem = p.Reason
		set(metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing, "the token is good, the next one fails: "+p.Error())
	case usable && refresh.TooShortToMount(s.secret.Held.Life):
		set(metav1.ConditionTrue, v1alpha1.ReasonLifetimeTooShort, fmt.Sprintf(
			"the zone issues tokens that live %s; files mounted from a Secret may follow up to %s late, so pods can see an expired one. Ask for tokens that live %s or longer",
			s.secret.Held.Life.Lifetime(), refresh.MountPropagation, 2*refresh.MountPropagation))
	case usable && s.secret.Held.Lifetime.Odd():
		reason, message := oddLifetime(s.secret.Held)
		set(metav1.ConditionTrue, reason, message)
	case usable:
		set(metav1.ConditionTrue, v1alpha1.ReasonIssued, "the zone issued a token for this spec")
	case at == stepToken && p != nil:
		set(metav1.ConditionFalse, p.Reason, p.Message)
	case s.secret.Held != nil && s.secret.Held.Life.Expired(s.now):
		set(metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "the token in the Secret has expired")
	default:
		s.pend(c, v1alpha1.ConditionTokenIssued)
	}
}

// nextFails tells whether a problem keeps the next token from its place: not where the present one is to be laid out anew.
func (s *scope) nextFails(at step, p *problem.Problem) bool {
	return p != nil && (at != stepSecret || s.attempt.minted != nil)
}

func (s *scope) reportSecret(c status.Conditions, at step, p *problem.Problem) {
	switch {
	case at == stepSecret && p != nil:
		c.Set(v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, p.Reason, p.Message)
	case s.layout.problem != nil:
		c.Set(v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, s.layout.problem.Reason, s.layout.problem.Message)
	case s.usable():
		c.Set(v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced, "the Secret holds the token")
	default:
		s.pend(c, v1alpha1.ConditionSecretSynced)
	}
}

// reportReady sums up. Ready means that the token in the Secret works now, so a refresh that fails early
// does not touch it; it falls when too little of the token's life is left for a mounted file to follow.
func (s *scope) reportReady(c status.Conditions, p *problem.Problem) {
	set := func(status metav1.ConditionStatus, reason, message string) {
		c.Set(v1alpha1.ConditionReady, status, reason, message)
	}
	expired := s.secret.Held != nil && s.secret.Held.Life.Expired(s.now)
	switch {
	case s.suspended():
		status := metav1.ConditionFalse
		if s.usable() {
			status = metav1.ConditionTrue
		}
		set(status, v1alpha1.ReasonSuspended, "spec.suspend is true: the token is not refreshed")
		c.Settled()
	case s.refused():
		v := verdict(s.secret.Held.Verdict)
		set(metav1.ConditionFalse, string(v), verdicts[v].message)
		c.Stalled(string(v), verdicts[v].message)
	case s.works(p):
		set(metav1.ConditionTrue, v1alpha1.ReasonReady, "the Secret holds a token that works")
		c.Settled()
	case p == nil:
		set(metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "the token has expired and the zone has issued no newer one; it is asked again")
		c.Reconciling(v1alpha1.ReasonProgressingWithRetry, "the zone has issued no newer token")
	case s.usable():
		set(metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring, "the token is about to expire and the next one fails: "+p.Error())
		s.reportMover(c, p)
	case expired && !p.Stalls():
		set(metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "the token has expired and the next one fails: "+p.Error())
		s.reportMover(c, p)
	default:
		set(metav1.ConditionFalse, p.Reason, p.Message)
		s.reportMover(c, p)
	}
}

// works tells whether the token in the Secret works, and will until a mounted file could follow the next one.
func (s *scope) works(p *problem.Problem) bool {
	return s.usable() && (p == nil || s.now.Before(refresh.FloorAt(s.secret.Held.Life)))
}

// reportMover says who moves next: a person (Stalled), or the operator (Reconciling).
func (s *scope) reportMover(c status.Conditions, p *problem.Problem) {
	if p.Stalls() {
		c.Stalled(p.Reason, p.Message)
		return
	}
	c.Reconciling(v1alpha1.ReasonProgressingWithRetry, p.Error())
}

func (s *scope) pend(c status.Conditions, conditionType string) {
	c.Set(conditionType, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits for an earlier condition")
}

// remaining is what is left of a token that works; 0 when there is none.
func (s *scope) remaining() time.Duration {
	if !s.usable() {
		return 0
	}
	return s.secret.Held.Life.Remaining(s.now)
}

// wakeTimes are the moments at which something changes by time alone.
func (s *scope) wakeTimes(p *problem.Problem) []time.Time {
	times := []time.Time{s.layout.notBefore}
	if s.secret.Held != nil {
		times = append(times, s.secret.Held.Life.ExpiresAt)
	}
	switch {
	case s.suspended():
		return times
	case s.pausing:
		times = append(times, s.attempt.notBefore)
	case p == nil && s.secret.Held != nil:
		times = append(times, s.refreshAt())
	}
	if p != nil && s.secret.Held != nil {
		times = append(times, refresh.FloorAt(s.secret.Held.Life))
	}
	return times
}
