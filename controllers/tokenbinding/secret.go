// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// loadSecret looks at the output Secret, and refuses one that is someone else's.
func (r *Reconciler) loadSecret(ctx context.Context, s *scope) error {
	s.output = tokensecret.New(r.Client, r.Live, r.namespaces()).Output(s.before, &r.memory(s.key()).written)
	secret, err := s.output.Read(ctx)
	s.hold(secret)
	return err
}

// ensureSecret writes the token that was exchanged for, or the present one in another layout.
func (r *Reconciler) ensureSecret(ctx context.Context, s *scope) error {
	if s.minted != nil {
		secret, err := s.output.Write(ctx, s.secret, tokensecret.Token{Token: s.minted.Token, Note: s.note(*s.minted, s.reads.SubjectVersion())})
		if err == nil {
			s.hold(secret)
		}
		return err
	}
	// The layout follows even while the next token is waited for.
	if s.laidOut() {
		return nil
	}
	if s.pausing && s.attempt.at == stepSecret {
		return s.attempt.pausedBy()
	}
	if s.secret.Held.Made.Layout == s.want.Layout && !r.attempts.mayRepair(s.key(), s.now) {
		return problem.Throttled(refresh.MinInterval, v1alpha1.ReasonThrottled, "the labels, annotations or owner of Secret %s were put right too often in a short time; is another program changing them?", s.binding.Spec.Secret.Name)
	}
	return r.relayout(ctx, s)
}

// laidOut tells whether nothing of the Secret but its token could be wrong.
func (s *scope) laidOut() bool {
	return !s.usable() || s.secret.Held.Made.Layout == s.want.Layout && s.secret.Dressed
}

// relayout writes the token that is in the Secret into it again, in the layout that is wanted now.
func (r *Reconciler) relayout(ctx context.Context, s *scope) error {
	held := s.secret.Held
	version := held.SubjectVersion
	if s.reads != nil && !s.subjectRenewed() {
		version = s.reads.SubjectVersion() // otherwise this token is still of the one before
	}
	note := s.note(minted{lifetime: held.Lifetime, subjectHash: held.SubjectHash, verdict: verdict(held.Verdict)}, version)
	secret, err := s.output.Relayout(ctx, s.secret, note)
	if err == nil {
		s.hold(secret)
	}
	return err
}

// note is what is remembered with a token of the subject's Secret in that version.
func (s *scope) note(token minted, subjectVersion string) tokensecret.Note {
	return tokensecret.Note{
		Made: s.want, SubjectVersion: subjectVersion, SubjectHash: token.subjectHash,
		Verdict: string(token.verdict), Lifetime: token.lifetime, Request: s.binding.Status.LastRefreshRequest,
	}
}

// expire takes an expired token out of the Secret, if the user wants that.
func (r *Reconciler) expire(ctx context.Context, s *scope) error {
	if s.binding.Spec.Secret.OnExpiry != v1alpha1.RemoveExpired || s.secret.Held == nil || !s.secret.Held.Life.Expired(s.now) || s.suspended() {
		return nil
	}
	secret, err := s.output.Empty(ctx, s.secret)
	if err == nil {
		s.hold(secret)
	}
	return err
}
