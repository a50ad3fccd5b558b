// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// step names the condition that a problem belongs to.
type step string

const (
	stepResource step = v1alpha1.ConditionResourceReady
	stepToken    step = v1alpha1.ConditionTokenIssued
	stepSecret   step = v1alpha1.ConditionSecretSynced
)

// minted is a token that is to be written, and what is remembered with it: what was odd about the lifetime that the zone
// announced, the fingerprint of the subject's token, and what came of trying it.
type minted struct {
	tokenfile.Token
	lifetime    keycard.Lifetime
	subjectHash string
	verdict     verdict
}

// issued is a token of the zone, and the fingerprint of the subject's token that it was issued for.
type issued struct {
	keycard.Token
	subjectHash string
}

// scope is what one reconcile knows of one binding.
type scope struct {
	// binding is a copy whose status the steps fill; before is the object as the server has it, and found
	// its status when the reconcile began.
	binding, before *v1alpha1.ConfluenceTokenBinding
	found           v1alpha1.ConfluenceTokenBindingStatus
	now             time.Time

	// output is the output Secret, and secret what the last look at it found.
	output tokensecret.Output
	secret tokensecret.Secret

	// install is the KeycardResource, and issuer and resource say what to exchange for, and scopes with which scopes. They are set once the
	// KeycardResource was found usable.
	install          *v1alpha1.KeycardResource
	issuer, resource string
	scopes           []string

	// want are the fingerprints of what is wanted; want.Exchange is empty while the KeycardResource is not usable.
	want tokensecret.Wanted
	// reads are the Secrets that an attempt depends on, and subject is whom a token is asked for; nil until they are known.
	reads   *subject.Inputs
	subject subject.Subject
	// exchanged is what the zone issued in this reconcile or an earlier one; minted is the token that is to
	// be written.
	exchanged *issued
	minted    *minted
	// attempt is what is remembered of the last failure with the same inputs; pausing is true until the
	// next one is due.
	attempt attempt
	pausing bool
	// owed is a request for a new token that the last attempt did not honour, with these inputs or others.
	owed string
	// layout is what keeps the present token from being laid out anew while the next one fails; its problem is nil when nothing does.
	layout attempt
	// queued is true when the binding waits for its turn at the zone.
	queued bool
	// recalled is true once attempt is known: what fails before that says nothing about the attempt.
	recalled bool
	// inputs names the versions of all that an attempt depends on, but for the Secrets that the user writes: when it changes, backoff
	// starts anew.
	inputs string
	// progress is how far the install has come.
	progress progress
}

func newScope(b *v1alpha1.ConfluenceTokenBinding, now time.Time) *scope {
	s := &scope{binding: b.DeepCopy(), before: b, found: b.Status, now: now, want: tokensecret.Wants(&b.Spec)}
	if !s.reported() {
		s.binding.Status.User = "" // it was found for another spec
	}
	return s
}

func (s *scope) key() client.ObjectKey { return client.ObjectKeyFromObject(s.binding) }

func (s *scope) uid() string { return string(s.binding.UID) }

// refreshBefore is how long before the expiry the user wants the refresh; 0 means the usual time.
func (s *scope) refreshBefore() time.Duration {
	if s.binding.Spec.Refresh == nil {
		return 0
	}
	before, err := time.ParseDuration(string(s.binding.Spec.Refresh.Before))
	if err != nil {
		return 0 // the schema admits no such value
	}
	return before
}

// refreshAt is when the next token is asked for. There is a token.
func (s *scope) refreshAt() time.Time {
	at := refresh.RefreshAt(s.secret.Held.Life, s.uid(), s.refreshBefore())
	if again := tryAgainAt(s.secret.Held.Life, s.uid()); s.refused() && again.Before(at) {
		return again
	}
	return at
}

// usable tells whether the Secret holds, as the operator wrote it, a token for this spec that has not
// expired. While the KeycardResource can't be used, only what stands in the binding is compared.
func (s *scope) usable() bool { return s.secret.Usable(s.want, s.now) }

// hold takes note of the output Secret.
func (s *scope) hold(secret tokensecret.Secret) {
	s.secret = secret
	if secret.Held != nil {
		s.recollectRequest()
	}
}
