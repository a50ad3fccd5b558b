// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// subjectToken reads the access token that is exchanged, once in a reconcile.
func (r *Reconciler) subjectToken(ctx context.Context, s *scope) (redacted.String, error) {
	if !s.subjectRead.IsZero() {
		return s.subjectRead, nil
	}
	ref := s.binding.Spec.Subject.AccessTokenSecretRef
	token, err := credentials.ReadKey(ctx, r.Live, s.local(ref.Name), ref.Key, "the subject's access token")
	if err != nil {
		return token, err
	}
	s.subjectRead, s.values.subject = token, s.fingerprint(token.Reveal())
	return token, nil
}

// fingerprint is of the subject's token, which goes into an annotation, and of credentials, which stays in memory. A token is long
// and random, so nobody guesses it from that; with the key, the fingerprint does not even tell which bindings have the same one.
func (s *scope) fingerprint(secret string) string {
	mac := hmac.New(sha256.New, []byte(s.uid()))
	_, _ = mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// compareSubject finds out whether another version of the subject's Secret holds the same token, as after an edit of its
// metadata. The value is looked at once for each version.
func (r *Reconciler) compareSubject(ctx context.Context, s *scope) error {
	if s.binding.Spec.Subject.AccessTokenSecretRef == nil || !s.subjectRenewed() || s.secret.Held.SubjectHash == "" {
		return nil
	}
	found := s.subjectVersion + " " + s.secret.Held.SubjectHash
	if known, _ := r.subjects.Load(s.key()); known == found {
		s.sameSubject = true
		return nil
	}
	if s.pausing && s.subjectRead.IsZero() {
		return nil // it was another one, or the look failed
	}
	token, err := r.subjectToken(ctx, s)
	if err != nil {
		return err
	}
	if s.sameSubject = s.fingerprint(token.Reveal()) == s.secret.Held.SubjectHash; s.sameSubject {
		r.subjects.Store(s.key(), found)
	}
	return nil
}

// subjectRenewed tells whether the subject's token may be another than the one that was exchanged. One that is gone is not.
func (s *scope) subjectRenewed() bool {
	return s.attempt.renewed || s.secret.Held != nil && s.subjectVersion != "" && s.subjectVersion != s.secret.Held.SubjectVersion && !s.sameSubject
}

// refusesSubject tells whether the zone refuses the token that is to be exchanged. It has other codes for what else of the
// request can be wrong.
func refusesSubject(remote *keycard.Error) bool {
	return remote.Code == "invalid_grant" || remote.Code == "invalid_request"
}

// subjectRefused says that the access token of spec.subject.accessTokenSecretRef is no good, which only a fresh one mends. Other
// errors stay as they are.
func (s *scope) subjectRefused(err error) error {
	ref := s.binding.Spec.Subject.AccessTokenSecretRef
	remote, ok := keycard.AsError(err)
	if ref == nil || !ok || !refusesSubject(remote) {
		return err
	}
	return problem.NeedsPerson(v1alpha1.ReasonSubjectTokenRejected,
		"%v; put a fresh access token into key %s of Secret %s: one of this zone, issued for the application of the binding", remote, ref.Key, s.local(ref.Name))
}
