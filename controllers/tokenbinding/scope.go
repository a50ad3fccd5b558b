// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
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
	lifetimeNote string
	subjectHash  string
	verdict      verdict
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

	// secret is the metadata of the output Secret; nil when there is none. held is the token in it, and
	// intact whether nobody else changed it, and dressed whether its labels, annotations and owner are as they are wanted.
	secret  *metav1.PartialObjectMetadata
	held    *held
	intact  bool
	dressed bool

	// install is the KeycardResource, and issuer and resource say what to exchange for, and scopes with which scopes. They are set once the
	// KeycardResource was found usable.
	install          *v1alpha1.KeycardResource
	issuer, resource string
	scopes           []string

	// person is whom a token was asked for in this reconcile.
	person person

	formats []tokenfile.Format
	// wantExchange, wantSpec and wantLayout are the hashes of what is wanted; wantExchange is empty while
	// the KeycardResource is not usable.
	wantExchange, wantSpec, wantLayout string
	// subjectVersion is the version of the Secret with the subject's token; empty when there is none.
	subjectVersion string
	// subjectHash fingerprints the subject's token that was exchanged in this reconcile, and sameSubject tells that another version
	// of its Secret holds the one that was exchanged before.
	subjectHash string
	sameSubject bool
	// subjectRead is the subject's token, and clientRead the application's credential, once they were read in this reconcile.
	subjectRead redacted.String
	clientRead  credentials.Client
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
	// starts anew. versions are those of the Secrets, and values what was read of them in this reconcile.
	inputs   string
	versions versions
	values   values
	// progress is how far the install has come.
	progress progress
}

func newScope(b *v1alpha1.ConfluenceTokenBinding, now time.Time) *scope {
	s := &scope{binding: b.DeepCopy(), before: b, found: b.Status, now: now}
	for _, f := range b.Spec.Secret.Formats {
		s.formats = append(s.formats, tokenfile.Format(f))
	}
	s.wantLayout, s.wantSpec = s.layoutHash(), s.specHash()
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
	at := refresh.RefreshAt(s.held.life, s.uid(), s.refreshBefore())
	if again := tryAgainAt(s.held.life, s.uid()); s.refused() && again.Before(at) {
		return again
	}
	return at
}

// usable tells whether the Secret holds, as the operator wrote it, a token for this spec that has not
// expired. While the KeycardResource can't be used, only what stands in the binding is compared.
func (s *scope) usable() bool { return s.fits() && !s.held.life.Expired(s.now) }

// fits is usable but for the expiry.
func (s *scope) fits() bool {
	if s.held == nil || !s.intact {
		return false
	}
	if s.wantExchange == "" {
		return s.held.specHash == s.wantSpec
	}
	return s.held.exchangeHash == s.wantExchange
}

// hold takes note of the output Secret. Which keys were written for another layout is not known, but some
// are always there.
func (s *scope) hold(m *metav1.PartialObjectMetadata) {
	s.secret, s.held, s.intact = m, heldIn(m), false
	s.dressed = s.isDressed(m)
	if s.held == nil {
		return
	}
	s.recollectRequest()
	formats := s.formats
	if s.held.layoutHash != s.wantLayout {
		formats = nil
	}
	s.intact = intact(m, formats)
}

// layoutVersion changes when the operator lays tokens out differently for the same spec.
const layoutVersion = 1

func (s *scope) layoutHash() string {
	spec := s.binding.Spec.Secret
	formats := slices.Sorted(slices.Values(spec.Formats))
	return hash(layoutVersion, formats, spec.Labels, spec.Annotations)
}

// specHash covers what a token depends on of the binding's own spec. Labels, annotations and the layout are
// not among it.
func (s *scope) specHash() string {
	spec := s.binding.Spec
	return hash(spec.ResourceRef, spec.Application, spec.Subject, spec.Scopes, spec.Site)
}

// exchangeHash covers all that a token depends on.
func (s *scope) exchangeHash() string {
	return hash(s.wantSpec, s.issuer, s.resource, s.scopes)
}

// hash fingerprints values by their JSON, which is the same for the same values: fields have an order,
// and map keys are sorted.
func hash(values ...any) string {
	raw, err := json.Marshal(values)
	if err != nil {
		panic("tokenbinding: hashing plain API types: " + err.Error()) // no such type fails to encode
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}
