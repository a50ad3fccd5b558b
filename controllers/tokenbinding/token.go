// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// ensureToken decides whether a token is to be exchanged for, and does it.
func (r *Reconciler) ensureToken(ctx context.Context, s *scope) error {
	if err := r.loadInputs(ctx, s); err != nil {
		return err
	}
	if err := r.recall(ctx, s); err != nil {
		return err
	}
	if err := s.reads.Compare(ctx, !s.pausing); err != nil {
		return err
	}
	act, why := s.decide()
	if act != exchange {
		return nil
	}
	if s.pausing {
		return s.attempt.pausedBy()
	}
	if m := s.attempt.minted; m != nil && m.ExpiresAt.After(s.now) {
		s.minted = m
		return nil
	}
	return r.mint(ctx, s, why)
}

// loadInputs notes what the exchange depends on.
func (r *Reconciler) loadInputs(ctx context.Context, s *scope) (err error) {
	s.inputs = fmt.Sprintf("%s|%s|%s/%d", s.inputs, s.want.Exchange, s.binding.UID, s.binding.Generation)
	r.once.Do(func() {
		r.subjects = subject.New(subject.Deps{Client: r.Client, Live: r.Live, Zones: r.Zones, Clock: r.Clock})
	})
	s.reads, err = r.subjects.Inputs(ctx, s.binding, s.secret.Held, &r.memory(s.key()).subject)
	return err
}

// sameValues tells whether the Secrets hold what the last attempt read of them. Only those are looked at whose version is another.
func (s *scope) sameValues(ctx context.Context, last attempt) (bool, error) {
	now := s.reads.Versions()
	ofClient, ofSubject := now.Client != last.versions.Client, now.Subject != last.versions.Subject
	if ofClient && last.values.Client == "" || ofSubject && last.values.Subject == "" {
		return false, nil // the attempt did not come to it
	}
	if err := s.reads.Read(ctx, ofClient, ofSubject); err != nil {
		return false, err
	}
	values := s.reads.Values()
	return (!ofClient || values.Client == last.values.Client) && (!ofSubject || values.Subject == last.values.Subject), nil
}

// subjectRenewed tells whether the subject's token may be another than the one that was exchanged. One that is gone is not.
func (s *scope) subjectRenewed() bool {
	return s.attempt.renewed || s.reads != nil && s.reads.Renewed()
}

// wasRefused tells whether the last attempt failed for what a person had to mend: who the user is, and which sites there are,
// may have changed by that.
func (s *scope) wasRefused() bool { return s.attempt.problem != nil && !s.attempt.problem.Passes() }

// recall looks up the last attempt with these inputs. A refusal that a person has to mend is forgotten when the install has
// done more in the zone since: that may be the remedy.
func (r *Reconciler) recall(ctx context.Context, s *scope) error {
	last, ok := r.attempts.last(s.key(), s.inputs)
	if ok {
		var err error
		if ok, err = s.sameValues(ctx, last); err != nil {
			return err
		}
	}
	s.recalled = true
	s.owed = r.attempts.owed(s.key())
	r.attempts.recalled(s.key(), s.reads.Versions(), ok)
	if !ok || last.problem == nil && !s.usable() {
		return nil
	}
	if last.problem != nil && last.problem.Kind == problem.KindPerson && s.progress.beyond(last.progress) {
		return nil
	}
	s.attempt = last
	if last.asked != "" && s.request() == last.asked {
		s.binding.Status.LastRefreshRequest = last.asked
	}
	s.pausing = s.now.Before(last.notBefore) && s.request() == ""
	return nil
}

func (s *scope) decide() (action, string) {
	return decide(facts{
		now: s.now, uid: s.uid(), before: s.refreshBefore(), held: s.secret.Held, intact: s.secret.Intact,
		want: s.want, renewed: s.subjectRenewed(),
		requested: s.requested(), refused: s.refused(),
	})
}

// mint exchanges for a token and finds its site.
func (r *Reconciler) mint(ctx context.Context, s *scope, why string) error {
	requested := s.requested()
	if err := r.issue(ctx, s, why); err != nil {
		return err
	}
	// From here on a token would be lost by a stop.
	ctx, cancel := subject.Outlive(ctx)
	defer cancel()
	token := s.exchanged.Token
	if s.binding.Spec.ReducedScopes != v1alpha1.AcceptReducedScopes {
		if err := checkScopes(token.Scopes, s.scopes); err != nil {
			return err
		}
	}
	life := lifeOf(token)
	if s.wouldNotAdvance(life, requested) {
		r.Metrics.unchanged.WithLabelValues(s.issuer).Inc()
		r.pause(s, attempt{notBefore: r.Clock.Now().Add(refresh.UnchangedRetryAfter(s.remaining()))})
		return nil
	}
	site, err := r.site(ctx, s, token)
	if err != nil {
		return err
	}
	s.minted = &minted{
		lifetime: token.Lifetime, subjectHash: s.exchanged.subjectHash, verdict: r.probe(ctx, s, token, site),
		Token: tokenfile.Token{
			AccessToken: token.AccessToken, IssuedAt: life.IssuedAt, ExpiresAt: life.ExpiresAt,
			Scopes: token.Scopes, Resource: s.resource,
			SiteURL: site.URL, CloudID: site.CloudID, BaseURL: r.Atlassian.ConfluenceURL(site.CloudID),
		},
	}
	return nil
}

// issue has the zone issue a token, unless there is one whose site is not known yet.
func (r *Reconciler) issue(ctx context.Context, s *scope, why string) error {
	waiting := s.attempt.exchanged
	if waiting != nil && lifeOf(waiting.Token).Expired(s.now) {
		waiting = nil
	}
	if waiting == nil && !r.attempts.mayIssue(s.key(), s.now) {
		return problem.Throttled(refresh.MinInterval, v1alpha1.ReasonThrottled, "too many tokens were issued in a short time, the last because %s; is another program changing Secret %s?",
			why, s.binding.Spec.Secret.Name)
	}
	if asked := s.request(); asked != "" {
		s.binding.Status.LastRefreshRequest = asked // whatever comes of it
	}
	if s.exchanged = waiting; waiting != nil {
		return nil
	}
	log.FromContext(ctx).Info("exchanging for a token", "why", why)
	token, err := r.exchangeInTurn(ctx, s)
	if s.queued {
		return err
	}
	if err != nil {
		return subject.Explain(err, s.explanation())
	}
	r.attempts.issued(s.key(), s.now)
	s.exchanged = &issued{Token: token, subjectHash: s.reads.SubjectHash()}
	return nil
}

// explanation is what is known about the attempt besides the zone's answer.
func (s *scope) explanation() subject.Context {
	c := subject.Context{
		Binding: s.binding, Resource: s.resource, Registers: s.install.Spec.WorkloadRegistration != nil, Failures: s.attempt.failures,
	}
	if who, ok := s.subject.(*subject.Impersonation); ok {
		c.Person = who.Person()
	}
	return c
}

// lifeOf is the life of a token of the zone: what it announced, from the receipt on by this cluster's clock. The zone's own
// clock is never asked.
func lifeOf(t keycard.Token) refresh.Life { return refresh.NewLife(t.ObservedAt, t.ExpiresIn) }

// sameExpiry is how far two expiries of one token may differ, which are known in whole seconds only.
const sameExpiry = 2 * time.Second

// wouldNotAdvance tells whether the zone handed out a token that lives no longer than the present one:
// it keeps upstream tokens until they are nearly used up. Writing it would change nothing for anybody. In the place of a token
// that Confluence refuses, or whose expiry is not known, any is welcome, and who asks for another takes what there is, unless it
// is the same one.
func (s *scope) wouldNotAdvance(life refresh.Life, requested bool) bool {
	if !s.usable() || s.refused() || s.subjectRenewed() || fromLater(s.secret.Held.Life, s.now) {
		return false
	}
	gain := life.ExpiresAt.Sub(s.secret.Held.Life.ExpiresAt)
	if requested {
		gain = gain.Abs()
	}
	return gain <= sameExpiry
}

// exchangeInTurn goes through the zone's gate.
func (r *Reconciler) exchangeInTurn(ctx context.Context, s *scope) (keycard.Token, error) {
	if err := r.identify(ctx, s); err != nil {
		return keycard.Token{}, err
	}
	if err := s.inLine(r.Gates.Enter(s.issuer, s.key().String(), s.turn(), s.usable())); err != nil {
		return keycard.Token{}, err
	}
	answer := throttle.Answer{}
	defer func() { r.Gates.Leave(s.issuer, answer) }()
	start := r.Clock.Now()
	token, err := r.exchange(ctx, s)
	r.Metrics.exchanged(s.issuer, r.Clock.Now().Sub(start), subject.Explain(err, subject.Context{Binding: s.binding}))
	remote, ok := keycard.AsError(err)
	answer.Answered = err == nil || ok && remote.Class != keycard.Transient
	if ok && remote.Class == keycard.Throttled {
		answer.Throttled, answer.Pause = true, remote.RetryAfter
	}
	return token, err
}

// inLine has a binding wait that the zone's gate does not let pass. New ones that only wait for others say nothing of it: there
// may be thousands.
func (s *scope) inLine(verdict throttle.Verdict) error {
	switch verdict {
	case throttle.Full:
		return s.queue("as many exchanges are under way at the zone as may be", s.hasTime() || s.neverIssued())
	case throttle.Paused:
		return s.queue("the zone asked for a pause", s.hasTime())
	}
	return nil
}

// identify finds out by which identifier the zone knows the user, if the binding acts for one. A look-up asks the management
// API, which is another server than the token endpoint: it is made before the binding has a place at the zone, so that a slow
// one does not take these. Who could not go to the zone anyway looks nobody up: there may be thousands in line.
func (r *Reconciler) identify(ctx context.Context, s *scope) error {
	facts := subject.Facts{Install: s.install, Refused: s.wasRefused()}
	if s.secret.Held != nil && s.secret.Held.Made.Exchange == s.want.Exchange {
		facts.Known = s.binding.Status.User
	}
	s.subject = s.reads.Subject(facts)
	who, ok := s.subject.(*subject.Impersonation)
	if !ok {
		return nil
	}
	if who.Person().Identifier == "" {
		if err := r.lookUp(ctx, s, who); err != nil {
			return err
		}
	}
	s.binding.Status.User = who.Person().Found
	return nil
}

// lookUp asks for the user, at the binding's turn.
func (r *Reconciler) lookUp(ctx context.Context, s *scope, who *subject.Impersonation) error {
	if err := s.inLine(r.Gates.Ask(s.issuer, s.key().String(), s.turn(), s.usable())); err != nil {
		return err
	}
	management := s.install.Spec.Zone.ManagementURL()
	if r.LookUps.Enter(management, s.key().String(), s.turn(), false) != throttle.Go {
		r.Gates.Pass(s.issuer)
		return s.queue("as many users are looked up as may be", s.hasTime() || s.neverIssued())
	}
	defer r.LookUps.Leave(management, throttle.Answer{Answered: true})
	err := who.LookUp(ctx)
	if err != nil {
		r.Gates.Pass(s.issuer)
	}
	return err
}

// exchange asks the zone for a token for the binding's subject. Besides the zone it asks the cluster only.
func (r *Reconciler) exchange(ctx context.Context, s *scope) (keycard.Token, error) {
	zone, err := r.zone(ctx, s)
	if err != nil {
		return keycard.Token{}, err
	}
	return s.subject.Token(ctx, subject.Zone{Client: zone, Issuer: s.issuer, Resource: s.resource, Scopes: s.scopes})
}

// site finds the Atlassian site. It does not change from token to token, so a routine refresh does not ask
// again; after a refusal it may be another, because the person consented anew.
func (r *Reconciler) site(ctx context.Context, s *scope, token keycard.Token) (atlassian.Site, error) {
	known := atlassian.Site{}
	if s.usable() {
		known = atlassian.Site{URL: s.secret.Held.SiteURL, CloudID: s.secret.Held.CloudID}
	}
	if known.CloudID != "" && !s.wasRefused() && !s.refused() {
		return known, nil
	}
	sites, err := r.Atlassian.Sites(ctx, token.AccessToken)
	if err != nil {
		err = atlassianProblem(err)
		if p, ok := errors.AsType[*problem.Problem](err); ok && p.Passes() && known.CloudID != "" {
			return known, nil // a good token need not wait for that
		}
		return atlassian.Site{}, err
	}
	wanted := ""
	if s.binding.Spec.Site != nil {
		wanted = s.binding.Spec.Site.URL
	}
	site, err := atlassian.Choose(sites, wanted)
	return site, siteProblem(err)
}

func siteProblem(err error) error {
	var (
		none          atlassian.NoSiteError
		notAccessible atlassian.NotAccessibleError
		ambiguous     atlassian.AmbiguousError
	)
	switch {
	case errors.As(err, &none):
		return problem.NeedsPerson(v1alpha1.ReasonNoAccessibleSites,
			"%v; the person has to pick at least one site in Atlassian's consent screen: revoke the grant and consent again", err)
	case errors.As(err, &notAccessible):
		return problem.NeedsPerson(v1alpha1.ReasonSiteNotAccessible,
			"%v; correct spec.site.url, or consent again and pick that site", err)
	case errors.As(err, &ambiguous):
		return problem.NeedsPerson(v1alpha1.ReasonSiteAmbiguous, "%v; name one of them in spec.site.url", err)
	}
	return err
}

func checkScopes(granted, requested []string) error {
	var missing []string
	for _, scope := range requested {
		if !slices.Contains(granted, scope) {
			missing = append(missing, scope)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return problem.NeedsPerson(v1alpha1.ReasonScopeReduced,
		"the zone granted a token without %s; the person has to consent to it, and the zone's policies have to permit it. Or leave it out of spec.scopes, or set spec.reducedScopes to Accept",
		strings.Join(missing, ", "))
}

// atlassianProblem turns an error of Atlassian's API into a problem. The token is fresh from the zone, so
// a refusal is about the grant behind it.
func atlassianProblem(err error) error {
	remote, ok := keycard.AsError(err)
	if !ok {
		return err
	}
	switch remote.Class {
	case keycard.Transient:
		return problem.Passing(v1alpha1.ReasonAtlassianUnreachable, "%v; it is retried", remote)
	case keycard.Throttled:
		return problem.Throttled(remote.RetryAfter, v1alpha1.ReasonThrottled, "%v; it is retried after the pause Atlassian asked for", remote)
	}
	if remote.Status != http.StatusUnauthorized && remote.Status != http.StatusForbidden {
		return problem.Passing(v1alpha1.ReasonAtlassianUnreachable,
			"%v; it is retried; if it lasts, check --atlassian-url, and proxies on the way to Atlassian", remote)
	}
	return problem.NeedsPerson(v1alpha1.ReasonTokenUnusable,
		"Atlassian refuses the token that the zone issued: %v; the person has to revoke the grant and consent again", remote)
}
