// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
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
	c.Reconciling(v1alpha1.ReasonProgressing)
}

// report turns what the look found into status.
func (c *Controller) report(s *scope, a refresh.Action) {
	a.Problem = c.invite(s, a.Problem)
	r := reporter{
		scope: s, Conditions: s.conditions(), facts: c.facts(s), found: a.Finding, layout: a.Layout,
		writes: c.memories.state(s.memory).Attempt.Holds == refresh.Complete,
	}
	r.report()
}

// reporter fills status. It depends on what the look found alone, and its texts hold neither times nor counts, so the same findings
// give the same status.
type reporter struct {
	*scope
	status.Conditions
	facts refresh.Facts
	found refresh.Finding
	// layout is what keeps the present token from being laid out anew.
	layout *problem.Problem
	// writes is true when the next token waits to be written.
	writes bool
}

func (r reporter) report() {
	r.reportFacts()
	r.reportResource()
	r.reportToken()
	r.reportSecret()
	r.reportVerified()
	r.reportReady()
}

// The bounds of status.scopes.
const maxScope, maxScopes = 128, 100

func (r reporter) reportFacts() {
	st, held := &r.binding.Status, r.secret.Held
	st.ObservedGeneration = r.binding.Generation
	st.IssuedAt, st.ExpiresAt, st.RefreshAt, st.Scopes, st.Site, st.RefreshProblem = nil, nil, nil, nil, nil, ""
	if held == nil {
		return
	}
	st.IssuedAt = &metav1.Time{Time: held.Life.IssuedAt}
	st.ExpiresAt = &metav1.Time{Time: held.Life.ExpiresAt}
	if !r.suspended() {
		st.RefreshAt = &metav1.Time{Time: r.facts.RefreshAt()}
	}
	for _, scope := range held.Scopes {
		if len(scope) <= maxScope && len(st.Scopes) < maxScopes { // what the schema admits
			st.Scopes = append(st.Scopes, v1alpha1.Scope(scope))
		}
	}
	if held.CloudID != "" {
		st.Site = &v1alpha1.SiteStatus{URL: held.SiteURL, CloudID: held.CloudID}
	}
}

// at returns the problem of a stage; nil when the look found none there.
func (r reporter) at(stage refresh.Stage) *problem.Problem {
	if r.found.At != stage {
		return nil
	}
	return r.found.Problem
}

func (r reporter) refused(conditionType string, p *problem.Problem) {
	r.Show(conditionType, metav1.ConditionFalse, p)
}

func (r reporter) pend(conditionType string) {
	r.Set(conditionType, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits for an earlier condition")
}

func (r reporter) reportResource() {
	switch p := r.at(refresh.StageInstall); {
	case p != nil:
		r.refused(v1alpha1.ConditionResourceReady, p)
	case r.facts.Installed:
		r.Set(v1alpha1.ConditionResourceReady, metav1.ConditionTrue, v1alpha1.ReasonResourceRegistered, "the KeycardResource is registered and admits this namespace")
	default:
		r.pend(v1alpha1.ConditionResourceReady)
	}
}

func (r reporter) reportToken() {
	issued := func(p *problem.Problem) { r.Show(v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, p) }
	held, p := r.secret.Held, r.found.Problem
	switch usable := r.facts.Usable(); {
	case usable && p != nil && (r.found.At != refresh.StageSecret || r.writes):
		r.binding.Status.RefreshProblem = p.Reason
		issued(problem.RefreshFailing(p))
	case usable && refresh.TooShortToMount(held.Life):
		issued(problem.LifetimeTooShort(held.Life.Lifetime(), refresh.MountPropagation, 2*refresh.MountPropagation))
	case usable && held.Lifetime.Odd():
		issued(problem.OddLifetime(held.Lifetime, held.Life.Lifetime()))
	case usable:
		r.Set(v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued, "the zone issued a token for this spec")
	case r.at(refresh.StageToken) != nil:
		r.refused(v1alpha1.ConditionTokenIssued, p)
	case r.expired():
		r.Set(v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "the token in the Secret has expired")
	default:
		r.pend(v1alpha1.ConditionTokenIssued)
	}
}

func (r reporter) expired() bool {
	return r.secret.Held != nil && r.secret.Held.Life.Expired(r.facts.Now)
}

func (r reporter) reportSecret() {
	switch p := r.at(refresh.StageSecret); {
	case p != nil:
		r.refused(v1alpha1.ConditionSecretSynced, p)
	case r.layout != nil:
		r.refused(v1alpha1.ConditionSecretSynced, r.layout)
	case r.facts.Usable():
		r.Set(v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced, "the Secret holds the token")
	default:
		r.pend(v1alpha1.ConditionSecretSynced)
	}
}

// reportVerified says what came of trying the token. The condition is there only where the spec asks for it.
func (r reporter) reportVerified() {
	verdict := ""
	if r.facts.Usable() {
		verdict = r.secret.Held.Verdict
	}
	p := problem.Probed(verdict)
	switch {
	case r.binding.Spec.Verify != v1alpha1.VerifyProbe:
		r.Remove(v1alpha1.ConditionVerified)
	case verdict == v1alpha1.ReasonVerified:
		r.Set(v1alpha1.ConditionVerified, metav1.ConditionTrue, verdict, "Confluence accepted the token")
	case p == nil:
		r.Set(v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonPending, "the next token is tried")
	case p.Stalls():
		r.refused(v1alpha1.ConditionVerified, p)
	default:
		r.Show(v1alpha1.ConditionVerified, metav1.ConditionUnknown, p)
	}
}

// reportReady sums up. Ready means that the token in the Secret works now, so a refresh that fails early does not touch it; it
// falls when too little of the token's life is left for a mounted file to follow.
func (r reporter) reportReady() {
	ready := func(status metav1.ConditionStatus, reason, message string) {
		r.Set(v1alpha1.ConditionReady, status, reason, message)
	}
	fails := func(shown, cause *problem.Problem) {
		r.refused(v1alpha1.ConditionReady, shown)
		r.Moves(cause)
	}
	usable, p := r.facts.Usable(), r.found.Problem
	switch {
	case r.suspended():
		ready(statusOf(usable), v1alpha1.ReasonSuspended, "spec.suspend is true: the token is not refreshed")
		r.Settled()
	case r.facts.Refused():
		refusal := problem.Probed(r.secret.Held.Verdict)
		fails(refusal, refusal)
	case usable && (p == nil || r.facts.HasTime()):
		ready(metav1.ConditionTrue, v1alpha1.ReasonReady, "the Secret holds a token that works")
		r.Settled()
	case p == nil:
		fails(problem.NoNewerToken(), problem.NoNewerToken())
	case usable:
		fails(problem.TokenExpiring(p), p)
	case r.expired() && !p.Stalls():
		fails(problem.TokenExpired(p), p)
	default:
		fails(p, p)
	}
}

func statusOf(is bool) metav1.ConditionStatus {
	if is {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}
