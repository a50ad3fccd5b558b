// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package subject exchanges for tokens on behalf of the subject of a binding: a person who is
// named, a person by an access token or by a session, or the application itself. It reads the
// Secrets that users write for that, says when they hold something else than before, and explains
// why a zone refused.
package subject

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Subject is on whose behalf tokens are asked for.
type Subject interface {
	// Token has the zone issue a token. Besides the zone it asks the cluster only. It is not begun
	// after ctx ended, but awaits the answer even when ctx ends meanwhile: a token that was issued
	// would be lost. The error is a *problem.Problem, a *keycard.Error, or one of the cluster.
	Token(ctx context.Context, at Zone) (keycard.Token, error)
}

// Zone is where a token is asked for, and which.
type Zone struct {
	Client   *keycard.ZoneClient
	Issuer   string
	Resource string
	Scopes   []string
}

// Deps is what subjects need. All fields have to be set.
type Deps struct {
	// Client reads metadata of Secrets from the cache, requests tokens of ServiceAccounts and
	// writes sessions.
	Client client.Client
	// Live reads from the server: values of Secrets are never cached.
	Live client.Reader
	// Zones makes clients of the management APIs where people are looked up.
	Zones *keycard.Pool
	Clock clock.PassiveClock
}

// Subjects makes the subjects of all bindings. It has what they share: whom e-mail addresses lead
// to, and sessions.
type Subjects struct {
	deps     Deps
	people   *cache.LRUExpireCache
	sessions sessions
}

// New returns Subjects that know no one yet.
func New(deps Deps) *Subjects {
	return &Subjects{deps: deps, people: cache.NewLRUExpireCacheWithClock(peopleKept, deps.Clock)}
}

// Memory is what is remembered of the subject of one binding between reconciles. The zero value is
// ready for use, by one goroutine at a time. Release has to be called when the binding is gone.
type Memory struct {
	// session is the one that the binding uses.
	session *session
	// same names the last version of the subject's Secret that holds the token which was exchanged.
	same string
}

// Release lets go of the binding's session.
func (m *Memory) Release() {
	if m.session != nil {
		m.session.all.release(m.session)
		m.session = nil
	}
}

// Facts are what a subject depends on besides its Inputs.
type Facts struct {
	Install *v1alpha1.KeycardResource
	// Known is the identifier that was found for the person before, for the same spec and zone; ""
	// when there is none. It comes from status, and not from the Secret: anyone who may write
	// Secrets in the namespace would choose whom the operator acts for.
	Known string
	// Refused is true when the last attempt failed for what a person had to mend: who the user is
	// may have changed by that.
	Refused bool
}

// Subject returns the subject of the binding. It is an *Impersonation where the binding names a
// person.
func (i *Inputs) Subject(f Facts) Subject {
	spec := i.binding.Spec.Subject
	if ref := spec.RefreshTokenSecretRef; ref != nil {
		return sessionToken{i, place{live: i.deps.Live, writes: i.deps.Client, secret: i.local(ref.Name), key: ref.Key}}
	}
	i.memory.Release() // the binding may have had another subject before
	switch {
	case spec.User != "":
		return i.impersonation(f)
	case spec.AccessTokenSecretRef != nil:
		return accessToken{i}
	}
	return application{i}
}

// accessToken acts for the person whose access token is in a Secret.
type accessToken struct{ *Inputs }

// Token implements Subject.
func (s accessToken) Token(ctx context.Context, at Zone) (keycard.Token, error) {
	auth, err := s.clientAuth(ctx, at.Issuer)
	if err != nil {
		return keycard.Token{}, err
	}
	token, err := s.accessToken(ctx)
	if err != nil {
		return keycard.Token{}, err
	}
	return exchange(ctx, at, keycard.ExchangeRequest{ClientAuth: auth, SubjectToken: token})
}

// application acts for itself.
type application struct{ *Inputs }

// Token implements Subject.
func (s application) Token(ctx context.Context, at Zone) (keycard.Token, error) {
	auth, err := s.clientAuth(ctx, at.Issuer)
	if err != nil {
		return keycard.Token{}, err
	}
	return completed(ctx, func(ctx context.Context) (keycard.Token, error) {
		return at.Client.ClientCredentials(ctx, keycard.ClientCredentialsRequest{ClientAuth: auth, Resource: at.Resource, Scopes: at.Scopes})
	})
}

// exchange exchanges the subject token of the request for a token of the resource.
func exchange(ctx context.Context, at Zone, request keycard.ExchangeRequest) (keycard.Token, error) {
	request.Resource, request.Scopes = at.Resource, at.Scopes
	return completed(ctx, func(ctx context.Context) (keycard.Token, error) { return at.Client.Exchange(ctx, request) })
}

// completed has the zone issue a token, as Subject.Token says.
func completed(ctx context.Context, issue func(context.Context) (keycard.Token, error)) (keycard.Token, error) {
	if err := ctx.Err(); err != nil {
		return keycard.Token{}, err
	}
	ctx, cancel := Outlive(ctx)
	defer cancel()
	return issue(ctx)
}

// finishTimeout is what an exchange has after a stop, and the look-ups between it and its write
// once more. Together with the write they fit in what the operator has after SIGTERM by default.
const finishTimeout = 7 * time.Second

// Outlive returns a context that ends 7 seconds after ctx, for what would be lost by a stop.
func Outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(finishTimeout, cancel) })
	return longer, func() { stop(); cancel() }
}
