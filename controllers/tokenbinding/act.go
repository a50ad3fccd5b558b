// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/site"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/target"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// act takes steps, and does what they say, until one says to report. The error says that the operator was told to stop: nothing
// failed but the attempt.
func (c *Controller) act(ctx context.Context, s *scope, e refresh.Event) (refresh.Action, error) {
	for {
		if e.Problem != nil && ctx.Err() != nil {
			return refresh.Action{}, ctx.Err()
		}
		state, a := c.memories.step(s.memory, c.facts(s), e)
		c.follow(ctx, s, state, e, a)
		if a.Verb == refresh.Report {
			return a, nil
		}
		e = c.do(ctx, s, state, a)
	}
}

// follow keeps the scope and the memory in line with the state.
func (c *Controller) follow(ctx context.Context, s *scope, state refresh.State, e refresh.Event, a refresh.Action) {
	if a.Honoured != "" {
		s.binding.Status.LastRefreshRequest = a.Honoured
	}
	if a.Unchanged {
		c.metrics.Unchanged(s.target.Issuer)
	}
	if state.Attempt.Holds == refresh.None && a.Verb != refresh.Exchange {
		s.memory.issued, s.memory.complete = issued{}, tokensecret.Token{}
	}
	logFailure(ctx, state, e)
}

// logFailure logs what failed and is tried again by time. What a watch reports would be logged with each look.
func logFailure(ctx context.Context, state refresh.State, e refresh.Event) {
	failures, until := state.Attempt.Failures, state.Attempt.Wait.Until
	switch e.Kind {
	case refresh.Prevented, refresh.Emptied:
		failures, until = state.Prevented, state.Again
	case refresh.LaidOut:
		failures, until = state.Layout.Failures, state.Layout.Wait.Until
	case refresh.InLine:
		return
	}
	if e.Problem != nil && !until.IsZero() {
		log.FromContext(ctx).Info("the attempt failed", "reason", e.Problem.Reason, "message", e.Problem.Message(), "failures", failures, "until", until)
	}
}

// do does what a step says, and returns the event that comes of it.
func (c *Controller) do(ctx context.Context, s *scope, state refresh.State, a refresh.Action) refresh.Event {
	switch a.Verb {
	case refresh.Exchange:
		log.FromContext(ctx).Info("exchanging for a token", "why", a.Why)
		return c.exchange(ctx, s, state)
	case refresh.Finish:
		return c.finish(ctx, s, state)
	case refresh.Write:
		return s.took(ctx, refresh.Written)(s.output.Write(ctx, s.secret, s.withNote(s.memory.complete)))
	case refresh.LayOut:
		return s.took(ctx, refresh.LaidOut)(s.output.Relayout(ctx, s.secret, s.heldNote()))
	case refresh.Empty:
		return s.took(ctx, refresh.Emptied)(s.output.Empty(ctx, s.secret))
	}
	panic("tokenbinding: a step said " + a.Verb.String()) // the table of refresh has no such transition
}

// exchange has the zone issue a token, in its turn.
func (c *Controller) exchange(ctx context.Context, s *scope, state refresh.State) refresh.Event {
	subj := s.inputs.Subject(subject.Facts{Install: s.target.Install, Known: s.knownUser(), Refused: state.WasRefused()})
	explain := subject.Context{
		Binding: s.binding, Resource: s.target.Resource, Failures: state.Attempt.Failures,
		Registers: s.target.Install.Spec.WorkloadRegistration != nil,
	}
	if person, ok := subj.(*subject.Impersonation); ok {
		if e, waits := c.identify(ctx, s, person); waits {
			return e
		}
		explain.Person = person.Person()
		s.binding.Status.User = explain.Person.Found
	}
	f := c.facts(s)
	if verdict := c.Gates.Enter(s.target.Issuer, s.key().String(), f.Turn(), f.Usable()); verdict != throttle.Go {
		return c.inLine(s, verdict)
	}
	token, err := c.ask(ctx, s, subj, explain)
	if err != nil {
		return refresh.Event{Kind: refresh.Failed, Problem: asProblem(ctx, err), Stage: refresh.StageToken}
	}
	s.memory.issued = issued{Token: token, subjectHash: s.inputs.SubjectHash()}
	return refresh.Event{Kind: refresh.Answered, Life: lifeOf(token), Problem: s.lacks(token)}
}

// ask goes to the zone, at which the binding has a place.
func (c *Controller) ask(ctx context.Context, s *scope, subj subject.Subject, explain subject.Context) (keycard.Token, error) {
	answer, start := throttle.Answer{}, c.Clock.Now()
	defer func() { c.Gates.Leave(s.target.Issuer, answer) }()
	zone, err := c.Targets.Zone(ctx, s.target)
	var token keycard.Token
	if err == nil {
		token, err = subj.Token(ctx, subject.Zone{Client: zone, Issuer: s.target.Issuer, Resource: s.target.Resource, Scopes: s.target.Scopes})
	}
	remote, ok := keycard.AsError(err)
	answer.Answered = err == nil || ok && remote.Class != keycard.Transient
	if ok && remote.Class == keycard.Throttled {
		answer.Throttled, answer.Pause = true, remote.RetryAfter
	}
	err = subject.Explain(err, explain)
	c.metrics.Exchanged(s.target.Issuer, c.Clock.Now().Sub(start), err)
	return token, err
}

// identify finds out by which identifier the zone knows the person, where that takes a look-up. It is made before the binding has a
// place at the zone, so that a slow management API does not take these. A binding that could not go to the zone anyway looks
// no one up: there may be thousands in line.
func (c *Controller) identify(ctx context.Context, s *scope, person *subject.Impersonation) (e refresh.Event, waits bool) {
	if person.Person().Identifier != "" {
		return e, false
	}
	f, id := c.facts(s), s.key().String()
	if verdict := c.Gates.Ask(s.target.Issuer, id, f.Turn(), f.Usable()); verdict != throttle.Go {
		return c.inLine(s, verdict), true
	}
	management := s.target.Install.Spec.Zone.ManagementURL()
	if c.LookUps.Enter(management, id, f.Turn(), false) != throttle.Go {
		c.Gates.Pass(s.target.Issuer)
		return inLine(problem.LookUpsFull, c.LookUps.Waiting(management), false), true
	}
	defer c.LookUps.Leave(management, throttle.Answer{Answered: true})
	if err := person.LookUp(ctx); err != nil {
		c.Gates.Pass(s.target.Issuer)
		return refresh.Event{Kind: refresh.Failed, Problem: asProblem(ctx, err), Stage: refresh.StageToken}, true
	}
	return e, false
}

// inLine is the event of a binding that the zone's gate does not let pass.
func (c *Controller) inLine(s *scope, verdict throttle.Verdict) refresh.Event {
	waiting := c.Gates.Waiting(s.target.Issuer)
	if verdict == throttle.Paused {
		return inLine(problem.ZonePaused, waiting, true)
	}
	return inLine(problem.ZoneFull, waiting, false)
}

func inLine(line problem.Line, others int, paused bool) refresh.Event {
	return refresh.Event{Kind: refresh.InLine, Others: others, Paused: paused, Problem: problem.InLine(line)}
}

// finish finds the site of the token that the zone issued. The token would be lost by a stop, so it goes on for a moment.
func (c *Controller) finish(ctx context.Context, s *scope, state refresh.State) refresh.Event {
	ctx, cancel := subject.Outlive(ctx)
	defer cancel()
	f, token := c.facts(s), s.memory.issued
	known, wanted := atlassian.Site{}, ""
	if f.Usable() {
		known = atlassian.Site{URL: s.secret.Held.SiteURL, CloudID: s.secret.Held.CloudID}
	}
	if s.binding.Spec.Site != nil {
		wanted = s.binding.Spec.Site.URL
	}
	// After a refusal the site may be another, because the person consented anew.
	at, err := c.Sites.Find(ctx, token.Token, wanted, known, state.WasRefused() || f.Refused())
	if err != nil {
		return refresh.Event{Kind: refresh.Failed, Problem: asProblem(ctx, err), Stage: refresh.StageToken}
	}
	var verdict site.Verdict
	if s.binding.Spec.Verify == v1alpha1.VerifyProbe {
		verdict = c.Sites.Probe(ctx, token.Token, at, s.target.Scopes)
	}
	life := lifeOf(token.Token)
	s.memory.complete = tokensecret.Token{
		Token: tokenfile.Token{
			AccessToken: token.AccessToken, IssuedAt: life.IssuedAt, ExpiresAt: life.ExpiresAt,
			Scopes: token.Scopes, Resource: s.target.Resource,
			SiteURL: at.URL, CloudID: at.CloudID, BaseURL: c.Sites.BaseURL(at),
		},
		Note: tokensecret.Note{SubjectHash: token.subjectHash, Verdict: string(verdict), Lifetime: token.Lifetime},
	}
	return refresh.Event{Kind: refresh.Completed}
}

// lifeOf is the life of a token of the zone: what it announced, from the receipt on by this cluster's clock. The zone's own clock
// is never asked.
func lifeOf(t keycard.Token) refresh.Life { return refresh.NewLife(t.ObservedAt, t.ExpiresIn) }

// lacks returns what the token lacks of the scopes that were asked for; nil when that is nothing, or when the spec accepts it.
func (s *scope) lacks(token keycard.Token) *problem.Problem {
	if s.binding.Spec.ReducedScopes == v1alpha1.AcceptReducedScopes {
		return nil
	}
	missing := target.Lacking(token.Scopes, s.target.Scopes)
	if len(missing) == 0 {
		return nil
	}
	return problem.ScopeReduced(missing)
}

// knownUser is the identifier that was found for this spec at this zone before. It is remembered in status, and not with the token:
// anyone who may write Secrets in the namespace would choose whom the operator acts for.
func (s *scope) knownUser() string {
	if s.secret.Held == nil || s.secret.Held.Made.Exchange != s.want.Exchange {
		return ""
	}
	return s.binding.Status.User
}

// withNote completes what is remembered with a token that is written now.
func (s *scope) withNote(token tokensecret.Token) tokensecret.Token {
	token.Made, token.SubjectVersion, token.Request = s.want, s.inputs.SubjectVersion(), s.binding.Status.LastRefreshRequest
	return token
}

// heldNote is what is remembered with the present token when it is laid out anew.
func (s *scope) heldNote() tokensecret.Note {
	note := s.secret.Held.Note
	if s.inputs != nil && !s.inputs.Renewed() { // otherwise this token is still of the one before
		note.SubjectVersion = s.inputs.SubjectVersion()
	}
	note.Made, note.Request = s.want, s.binding.Status.LastRefreshRequest
	return note
}

// took takes note of what a write made of the Secret, and returns the event that came of it.
func (s *scope) took(ctx context.Context, kind refresh.Kind) func(tokensecret.Secret, error) refresh.Event {
	return func(secret tokensecret.Secret, err error) refresh.Event {
		s.secret = secret
		switch {
		case err == nil:
			return refresh.Event{Kind: kind}
		case kind == refresh.Written:
			kind = refresh.Failed
		}
		return refresh.Event{Kind: kind, Problem: asProblem(ctx, err), Stage: refresh.StageSecret}
	}
}
