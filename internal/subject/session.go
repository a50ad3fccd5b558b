// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

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

// A person's session lives by a refresh token that the zone replaces with each use (RFC 6749
// section 6, RFC 9700 section 4.14.2): the used one is dead, and using it again ends the session.
// The order that holds:
//
//  1. Try the write of the Secret without doing it. A token that can't be replaced is not spent.
//  2. Use the refresh token.
//  3. Write the new one, before anything else is done.
//  4. Exchange the access token of the session for one of the resource.
//
// A stop of the operator comes before 2, or after 3: once the refresh token is sent, the answer is
// awaited and written. A failure at 3 leaves the new token in memory, and the next attempt begins
// with it. What can't be mended from here is a kill between the zone's answer and the end of 3: the
// zone has then given away a token that no one holds.

// session is what is known of the session behind one key of a Secret.
type session struct {
	all *sessions
	id  string
	// users counts the bindings that use it; guarded by all.mu.
	users int

	mu sync.Mutex
	// unsaved is the zone's new refresh token until it is in the Secret in the place of current.
	unsaved redacted.String
	// current is the refresh token that the Secret held last.
	current redacted.String
	// access is the session's token. While it lives, another attempt does not spend a refresh
	// token.
	access keycard.Token
}

// sessions keeps one session for each key of a Secret and each zone: bindings that share it take
// turns. They have their places at the zone while they do, so those of another zone, which may
// hang, are none of theirs. The zero value is ready for use.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
}

// use returns the session that the binding of m uses now, and lets go of the one that it used
// before.
func (all *sessions) use(m *Memory, issuer string, at place) *session {
	id := at.secret.String() + "/" + at.key + " " + issuer
	if m.session != nil && m.session.id == id {
		return m.session
	}
	m.Release()
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.m == nil {
		all.m = map[string]*session{}
	}
	if all.m[id] == nil {
		all.m[id] = &session{all: all, id: id}
	}
	m.session = all.m[id]
	m.session.users++
	return m.session
}

// release forgets the tokens of a session that no binding uses any more. A refresh token that is
// not saved yet is kept, because it is nowhere else: a binding that comes back goes on with it.
func (all *sessions) release(held *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if held.users--; held.users > 0 {
		return
	}
	held.mu.Lock() // no one has it: those who do are among the users
	defer held.mu.Unlock()
	if held.unsaved.IsZero() {
		delete(all.m, held.id)
		return
	}
	held.access = keycard.Token{}
}

// writeTimeout bounds the writes of a session. They are finished even when the operator is told to
// stop.
const writeTimeout = 10 * time.Second

// accessMargin is the life that the session's access token has to have left to be used again.
const accessMargin = time.Minute

// keep remembers the session's access token. What was read of the clock counts on the wall: a
// monotonic clock stands still while a machine sleeps.
func (held *session) keep(token keycard.Token) {
	token.ObservedAt = token.ObservedAt.Round(0)
	held.access = token
}

// forgetAccess drops the session's access token, because the zone does not take it. Another binding
// may have got the next one.
func (held *session) forgetAccess(refused redacted.String) {
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.access.AccessToken.Reveal() == refused.Reveal() {
		held.access = keycard.Token{}
	}
}

// sessionToken acts for the person whose refresh token is in a Secret.
type sessionToken struct {
	*Inputs
	place
}

// Token implements Subject. It exchanges the session's access token. One that is remembered may be
// none any more, as when it was revoked or the zone got other keys: then the session's next one is
// tried.
func (s sessionToken) Token(ctx context.Context, at Zone) (token keycard.Token, err error) {
	auth, err := s.clientAuth(ctx, at.Issuer)
	if err != nil {
		return keycard.Token{}, err
	}
	held := s.sessions.use(s.memory, at.Issuer, s.place)
	for range 2 {
		var remembered bool
		request := keycard.ExchangeRequest{ClientAuth: auth}
		if request.SubjectToken, remembered, err = s.access(ctx, held, at.Client, auth); err != nil {
			return keycard.Token{}, err
		}
		token, err = exchange(ctx, at, request)
		remote, refused := keycard.AsError(err)
		if !refused || remote.Class == keycard.Transient || remote.Class == keycard.Throttled {
			return token, err
		}
		held.forgetAccess(request.SubjectToken)
		if !remembered || !refusesSubject(remote) {
			return token, err
		}
	}
	return token, err
}

// access returns an access token of the person's session, to be exchanged, and whether it is one
// that was remembered.
func (s sessionToken) access(ctx context.Context, held *session, zone *keycard.ZoneClient, auth keycard.ClientAuth) (token redacted.String, remembered bool, err error) {
	held.mu.Lock()
	defer held.mu.Unlock()
	defer func() { s.values.Subject = s.fingerprint(held.current.Reveal()) }() // what is in the Secret then

	stored, err := s.read(ctx, held)
	if err != nil {
		return redacted.String{}, false, err
	}
	if err := s.settle(ctx, held, stored); err != nil {
		return redacted.String{}, false, err
	}
	if t := held.access; !t.AccessToken.IsZero() && s.deps.Clock.Now().Before(t.ObservedAt.Add(t.ExpiresIn-accessMargin)) {
		return t.AccessToken, true, nil
	}
	token, err = s.renew(ctx, held, stored, func(ctx context.Context) (keycard.Token, error) {
		return zone.Refresh(ctx, keycard.RefreshRequest{ClientAuth: auth, RefreshToken: held.current})
	})
	return token, false, err
}

// place is the key of a Secret where a session's refresh token is kept.
type place struct {
	live   client.Reader
	writes client.Writer
	secret types.NamespacedName
	key    string
}

// renew uses the refresh token that was read, and has the zone's next one in its place before it
// returns the access token.
func (at place) renew(ctx context.Context, held *session, stored *corev1.Secret, refresh func(context.Context) (keycard.Token, error)) (redacted.String, error) {
	// The value is another, because none at all is checked when nothing would change. A webhook
	// that can't be asked without doing it is no reason to stop.
	if err := at.write(ctx, stored, redacted.New("dry-run"), client.DryRunAll); err != nil && !apierrors.IsBadRequest(err) {
		return redacted.String{}, at.writeProblem(err)
	}
	if ctx.Err() != nil {
		return redacted.String{}, ctx.Err() // nothing is begun after a stop
	}
	// The answer is awaited as long as the process lives, whatever the stop: without it no one has
	// the session.
	token, err := refresh(context.WithoutCancel(ctx))
	if err != nil {
		return redacted.String{}, at.refreshProblem(err)
	}
	held.keep(token)
	if token.RefreshToken.IsZero() || token.RefreshToken.Reveal() == held.current.Reveal() {
		return token.AccessToken, nil
	}
	held.unsaved = token.RefreshToken
	if err := at.settle(ctx, held, stored); err != nil {
		return redacted.String{}, err
	}
	if held.access.AccessToken.IsZero() {
		return redacted.String{}, problem.SessionReplaced(at.secret)
	}
	log.FromContext(ctx).Info("renewed the person's session", "secret", at.secret.Name)
	return held.access.AccessToken, nil
}

// settle writes a refresh token that is not saved yet over the Secret as it was read, at once:
// reading it again would only make the moment longer in which a kill loses the session. After a
// failure it reads again, and gives up when someone put another session there.
func (at place) settle(ctx context.Context, held *session, stored *corev1.Secret) error {
	if held.unsaved.IsZero() {
		return nil
	}
	// The attempt is finished even when the operator is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	var last error
	attempts := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Steps: 6}
	err := wait.ExponentialBackoffWithContext(ctx, attempts, func(ctx context.Context) (bool, error) {
		if last != nil {
			if stored, last = at.read(ctx, held); last != nil {
				return false, nil //nolint:nilerr // it is tried again
			}
		}
		if held.unsaved.IsZero() {
			return true, nil
		}
		if last = at.writeProblem(at.write(ctx, stored, held.unsaved)); last == nil {
			held.current, held.unsaved = held.unsaved, redacted.String{}
		}
		return last == nil, nil
	})
	return cmp.Or(last, err)
}

// read reads the refresh token. When someone put another one there, the session it began replaces
// what is remembered.
func (at place) read(ctx context.Context, held *session) (*corev1.Secret, error) {
	secret, token, err := credentials.ReadSecret(ctx, at.live, at.secret, at.key, "the person's refresh token")
	if err != nil {
		if _, gone := errors.AsType[*problem.Problem](err); gone { // it was taken away, not unreachable
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

// write puts a refresh token into the Secret that was read, and into no other version of it.
func (at place) write(ctx context.Context, stored *corev1.Secret, token redacted.String, options ...client.PatchOption) error {
	// A merge patch touches nothing but this key: other keys may be other people's sessions.
	change := corev1ac.Secret(stored.Name, stored.Namespace).WithUID(stored.UID).WithResourceVersion(stored.ResourceVersion).
		WithData(map[string][]byte{at.key: []byte(token.Reveal())})
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encoding Secret %s: %w", stored.Name, err)
	}
	options = append(options, client.FieldOwner(v1alpha1.SessionFieldManager))
	m := secretmeta.New(stored.Namespace, stored.Name)
	return at.writes.Patch(ctx, m, client.RawPatch(types.MergePatchType, body), options...)
}

func (at place) writeProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err):
		return problem.SessionImmutable(at.secret.Name)
	}
	return tokensecret.WriteProblem(at.secret.Name, err)
}

// refreshProblem says that a session is over, which only a new sign-in mends.
func (at place) refreshProblem(err error) error {
	if remote, ok := keycard.AsError(err); ok && remote.Code == "invalid_grant" {
		return problem.SessionEnded(at.secret, at.key, remote)
	}
	return err
}

// renewedHere reports whether a refresh token in a Secret was written by the operator: anyone who
// changes it takes its ownership.
func renewedHere(m *metav1.PartialObjectMetadata, dataKey string) bool {
	return secretmeta.OwnedBy(m, v1alpha1.SessionFieldManager, metav1.ManagedFieldsOperationUpdate).Data.Has(dataKey)
}
