// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// A person's session lives by a refresh token that the zone replaces with each use (RFC 6749 section 6, RFC 9700
// section 4.14.2): the used one is dead, and using it again ends the session. The order that holds:
//
//  1. Try the write of the Secret without doing it. A token that can't be replaced is not spent.
//  2. Use the refresh token.
//  3. Write the new one, before anything else is done.
//  4. Exchange the access token of the session for one of the resource.
//
// A stop of the operator comes before 2, or after 3: once the refresh token is sent, the answer is awaited and written.
// A failure at 3 leaves the new token in memory, and the next attempt begins with it. What can't be mended from here is a
// kill between the zone's answer and the end of 3: the zone has then given away a token that nobody holds.

// session is what is known of the session behind one key of a Secret.
type session struct {
	mu sync.Mutex
	// unsaved is the zone's new refresh token until it is in the Secret in the place of current.
	unsaved redacted.String
	// current is the refresh token that the Secret held last.
	current redacted.String
	// access is the session's token. While it lives, another attempt does not spend a refresh token.
	access keycard.Token
}

// sessions keeps one session for each key of a Secret and each zone: bindings that share it take turns. They have their places at
// the zone while they do, so those of another zone, which may hang, are none of theirs. The zero value is ready for use.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
	// users has for each binding the session that it uses.
	users map[types.NamespacedName]string
}

// of gives the session that a binding uses now, and lets go of the one that it used before.
func (s *sessions) of(binding types.NamespacedName, issuer string, secret types.NamespacedName, key string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m, s.users = map[string]*session{}, map[types.NamespacedName]string{}
	}
	id := secret.String() + "/" + key + " " + issuer
	if s.users[binding] != id {
		s.release(binding)
		s.users[binding] = id
	}
	if s.m[id] == nil {
		s.m[id] = &session{}
	}
	return s.m[id]
}

// drop lets go of the session of a binding that is gone, or has another subject now.
func (s *sessions) drop(binding types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(binding)
}

// release forgets the tokens of a session that no binding uses any more. A refresh token that is not saved yet is kept, because
// it is nowhere else: a binding that comes back goes on with it.
func (s *sessions) release(binding types.NamespacedName) {
	id, used := s.users[binding]
	if !used {
		return
	}
	delete(s.users, binding)
	for _, other := range s.users {
		if other == id {
			return
		}
	}
	held := s.m[id]
	held.mu.Lock() // nobody has it: those who use it are among the users
	defer held.mu.Unlock()
	if held.unsaved.IsZero() {
		delete(s.m, id)
		return
	}
	held.access = keycard.Token{}
}

// accessMargin is the life that the session's access token has to have left to be used again.
const accessMargin = time.Minute

// keep remembers the session's access token. What was read of the clock counts on the wall: a monotonic clock stands still while
// a machine sleeps.
func (held *session) keep(token keycard.Token) {
	token.ObservedAt = token.ObservedAt.Round(0)
	held.access = token
}

// exchangeSession exchanges the session's access token. One that is remembered may be none any more, as when it was revoked or
// the zone got other keys: then the session's next one is tried.
func (r *Reconciler) exchangeSession(ctx context.Context, s *scope, zone *keycard.ZoneClient, request keycard.ExchangeRequest) (token keycard.Token, err error) {
	for range 2 {
		var remembered bool
		if request.SubjectToken, remembered, err = r.sessionToken(ctx, s, zone, request.ClientAuth); err != nil {
			return keycard.Token{}, err
		}
		token, err = completed(ctx, func(ctx context.Context) (keycard.Token, error) { return zone.Exchange(ctx, request) })
		remote, refused := keycard.AsError(err)
		if !refused || remote.Class == keycard.Transient || remote.Class == keycard.Throttled {
			return token, err
		}
		r.forgetAccess(s, request.SubjectToken)
		if !remembered || !refusesSubject(remote) {
			return token, err
		}
	}
	return token, err
}

// sessionToken gives an access token of the person's session, to be exchanged, and tells whether it is one that was remembered.
func (r *Reconciler) sessionToken(ctx context.Context, s *scope, zone *keycard.ZoneClient, auth keycard.ClientAuth) (token redacted.String, remembered bool, err error) {
	ref := s.binding.Spec.Subject.RefreshTokenSecretRef
	key := s.local(ref.Name)
	held := r.sessions.of(s.key(), s.issuer, key, ref.Key)
	held.mu.Lock()
	defer held.mu.Unlock()
	defer func() { s.values.subject = s.fingerprint(held.current.Reveal()) }() // what is in the Secret then

	stored, err := r.readSession(ctx, held, key, ref.Key)
	if err != nil {
		return redacted.String{}, false, err
	}
	if err := r.settle(ctx, held, stored, ref.Key); err != nil {
		return redacted.String{}, false, err
	}
	if t := held.access; !t.AccessToken.IsZero() && r.Clock.Now().Before(t.ObservedAt.Add(t.ExpiresIn-accessMargin)) {
		return t.AccessToken, true, nil
	}
	token, err = r.renew(ctx, held, stored, ref.Key, zone, keycard.RefreshRequest{ClientAuth: auth, RefreshToken: held.current})
	return token, false, err
}

// renew uses the refresh token that was read, and has the zone's next one in its place before it gives the access token.
func (r *Reconciler) renew(ctx context.Context, held *session, stored *corev1.Secret, dataKey string, zone *keycard.ZoneClient, request keycard.RefreshRequest) (redacted.String, error) {
	key := client.ObjectKeyFromObject(stored)
	// The value is another, because none at all is checked when nothing would change. A webhook that can't be asked without
	// doing it is no reason to stop.
	if err := r.writeSession(ctx, stored, dataKey, redacted.New("dry-run"), client.DryRunAll); err != nil && !apierrors.IsBadRequest(err) {
		return redacted.String{}, sessionWriteProblem(stored.Name, err)
	}
	if ctx.Err() != nil {
		return redacted.String{}, ctx.Err() // nothing is begun after a stop
	}
	// The answer is awaited as long as the process lives, whatever the stop: without it nobody has the session.
	token, err := zone.Refresh(context.WithoutCancel(ctx), request)
	if err != nil {
		return redacted.String{}, sessionProblem(err, key, dataKey)
	}
	held.keep(token)
	if token.RefreshToken.IsZero() || token.RefreshToken.Reveal() == held.current.Reveal() {
		return token.AccessToken, nil
	}
	held.unsaved = token.RefreshToken
	if err := r.settle(ctx, held, stored, dataKey); err != nil {
		return redacted.String{}, err
	}
	if held.access.AccessToken.IsZero() {
		return redacted.String{}, problem.Passing(v1alpha1.ReasonSecretConflict, "Secret %s got another session a moment ago", key)
	}
	log.FromContext(ctx).Info("renewed the person's session", "secret", key.Name)
	return held.access.AccessToken, nil
}

// forgetAccess drops the session's access token, because the zone does not take it. Another binding may have got the next one.
func (r *Reconciler) forgetAccess(s *scope, refused redacted.String) {
	ref := s.binding.Spec.Subject.RefreshTokenSecretRef
	held := r.sessions.of(s.key(), s.issuer, s.local(ref.Name), ref.Key)
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.access.AccessToken.Reveal() == refused.Reveal() {
		held.access = keycard.Token{}
	}
}

// settle writes a refresh token that is not saved yet over the Secret as it was read, at once: reading it again would only
// make the moment longer in which a kill loses the session. After a failure it reads again, and gives up when somebody put
// another session there.
func (r *Reconciler) settle(ctx context.Context, held *session, read *corev1.Secret, dataKey string) error {
	if held.unsaved.IsZero() {
		return nil
	}
	// The attempt is finished even when the operator is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	var last error
	key := client.ObjectKeyFromObject(read)
	attempts := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Steps: 6}
	err := wait.ExponentialBackoffWithContext(ctx, attempts, func(ctx context.Context) (bool, error) {
		if last != nil {
			if read, last = r.readSession(ctx, held, key, dataKey); last != nil {
				return false, nil //nolint:nilerr // it is tried again
			}
		}
		if held.unsaved.IsZero() {
			return true, nil
		}
		if last = sessionWriteProblem(key.Name, r.writeSession(ctx, read, dataKey, held.unsaved)); last == nil {
			held.current, held.unsaved = held.unsaved, redacted.String{}
		}
		return last == nil, nil
	})
	return cmp.Or(last, err)
}

// readSession reads the refresh token. When somebody put another one there, the session it began replaces what is
// remembered.
func (r *Reconciler) readSession(ctx context.Context, held *session, key types.NamespacedName, dataKey string) (*corev1.Secret, error) {
	secret, token, err := credentials.ReadSecret(ctx, r.Live, key, dataKey, "the person's refresh token")
	if err != nil {
		if p := (*problem.Problem)(nil); errors.As(err, &p) { // it was taken away, not unreachable
			held.unsaved, held.current, held.access = redacted.String{}, redacted.String{}, keycard.Token{}
		}
		return nil, err
	}
	switch token.Reveal() {
	case held.current.Reveal():
	case held.unsaved.Reveal(): // it was saved, and the answer was lost
		held.unsaved, held.current = redacted.String{}, token
	default:
		held.unsaved, held.current, held.access = redacted.String{}, token, keycard.Token{}
	}
	return secret, nil
}

// writeSession puts a refresh token into the Secret that was read, and into no other version of it.
func (r *Reconciler) writeSession(ctx context.Context, read *corev1.Secret, dataKey string, token redacted.String, options ...client.PatchOption) error {
	// A merge patch touches nothing but this key: other keys may be other people's sessions.
	change := corev1ac.Secret(read.Name, read.Namespace).WithUID(read.UID).WithResourceVersion(read.ResourceVersion).
		WithData(map[string][]byte{dataKey: []byte(token.Reveal())})
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encoding Secret %s: %w", read.Name, err)
	}
	options = append(options, client.FieldOwner(v1alpha1.SessionFieldManager))
	m := secretmeta.New(read.Namespace, read.Name)
	return r.Client.Patch(ctx, m, client.RawPatch(types.MergePatchType, body), options...) //nolint:wrapcheck // callers tell what it means
}

func sessionWriteProblem(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err):
		return problem.Blocked(v1alpha1.ReasonSecretInvalid, "Secret %s can't be changed, and the zone replaces refresh tokens; remove immutable from it", name)
	}
	return tokensecret.WriteProblem(name, err)
}

// sessionProblem says that a session is over, which only a new sign-in mends.
func sessionProblem(err error, key types.NamespacedName, dataKey string) error {
	if remote, ok := keycard.AsError(err); ok && remote.Code == "invalid_grant" {
		return problem.NeedsPerson(v1alpha1.ReasonSessionEnded,
			"%v; the person has to sign in again, and her new refresh token belongs into key %s of Secret %s", remote, dataKey, key)
	}
	return err
}

// renewedHere tells whether a refresh token in a Secret was written by the operator: whoever changes it takes its
// ownership.
func renewedHere(m *metav1.PartialObjectMetadata, dataKey string) bool {
	return secretmeta.OwnedBy(m, v1alpha1.SessionFieldManager, metav1.ManagedFieldsOperationUpdate).Data.Has(dataKey)
}
