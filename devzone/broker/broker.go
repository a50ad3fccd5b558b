// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Mode says which upstream token an exchange hands out.
type Mode string

const (
	// Refresh makes a new upstream token for each exchange.
	Refresh Mode = "refresh"
	// Cached hands out the grant's token while it has enough life left, so that
	// the remaining life shrinks from exchange to exchange.
	Cached Mode = "cached"
)

// Modes are the accepted modes.
var Modes = []Mode{Refresh, Cached}

// flightTimeout bounds what one exchange may spend with a provider, whoever
// waits for it.
const flightTimeout = 30 * time.Second

// grantLifetime is how long an upstream refresh token lives unused.
const grantLifetime = 90 * 24 * time.Hour

// ErrConsentRequired says that there is no grant to take a token from, or that
// it was revoked or has expired. Only the person can change that.
var ErrConsentRequired = errors.New("user consent is required")

// Config is what the broker works with.
type Config struct {
	Store   *store.Store
	Issuers *issuer.Map
	Clock   func() time.Time
	// Client makes the requests to providers; see NewClient.
	Client *http.Client
	Mode   Mode
	// MinRemaining is the life below which a cached token is refreshed.
	MinRemaining time.Duration
}

// Broker gets upstream tokens for grants. It is safe for concurrent use.
type Broker struct {
	Config
	// flights lets concurrent exchanges on one grant share one refresh, so that
	// no rotating refresh token is sent twice.
	flights singleflight.Group
}

// Query says whose token for which resource is wanted.
type Query struct {
	Resource store.Resource
	Provider store.Provider
	// UserID or ApplicationID is set: whose grant it is.
	UserID        string
	ApplicationID string
}

// Token is an upstream access token.
type Token struct {
	Value   string
	Expires time.Time
	Scopes  []string
}

// New returns a broker.
func New(c Config) *Broker { return &Broker{Config: c} }

func (q Query) key() string { return store.GrantKey(q.UserID, q.ApplicationID, q.Resource.ID) }

// Token returns an upstream token from the grant, making the grant first when
// the owner agreed beforehand (a seeded consent). It fails with
// ErrConsentRequired or an *UpstreamError.
func (b *Broker) Token(ctx context.Context, q Query) (Token, error) {
	// The flight outlives the caller that started it: others wait for it too,
	// and a refresh that the provider has answered must not be lost.
	flight := b.flights.DoChan(q.Resource.ZoneID+"\x00"+q.key(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
		defer cancel()
		return b.obtain(ctx, q)
	})
	select {
	case <-ctx.Done():
		return Token{}, fmt.Errorf("waiting for an upstream token: %w", ctx.Err())
	case r := <-flight:
		if r.Err != nil {
			return Token{}, r.Err
		}
		return r.Val.(Token), nil
	}
}

func (b *Broker) obtain(ctx context.Context, q Query) (Token, error) {
	grant, found, consent, err := b.look(q)
	switch {
	case err != nil:
		return Token{}, err
	case !found && consent == nil:
		return Token{}, ErrConsentRequired
	case !found:
		return b.consent(ctx, q, *consent)
	case grant.Status != store.GrantActive || grant.ProviderID != q.Provider.ID:
		return Token{}, ErrConsentRequired
	case b.fresh(grant):
		return tokenOf(grant), nil
	case grant.RefreshToken == "":
		return Token{}, b.expire(grant)
	}
	tokens, err := b.refresh(ctx, q.Provider, grant.RefreshToken)
	if refusal, ok := errors.AsType[*UpstreamError](err); ok && refusal.Code == "invalid_grant" {
		return Token{}, b.expire(grant)
	}
	if err != nil {
		return Token{}, err
	}
	return b.save(grant.ID, q, tokens)
}

// look finds the grant, or the consent that may make one.
func (b *Broker) look(q Query) (grant store.Grant, found bool, consent *store.Consent, err error) {
	err = b.Store.View(func(tx *store.Tx) error {
		if grant, found = tx.Grants.Find(q.Resource.ZoneID, q.key()); found {
			return nil
		}
		given, err := seeded(tx, q)
		i := slices.IndexFunc(given, func(c store.Consent) bool { return c.Resource == q.Resource.Identifier })
		if i >= 0 {
			consent = &given[i]
		}
		return err
	})
	return grant, found, consent, err
}

func seeded(tx *store.Tx, q Query) ([]store.Consent, error) {
	if q.UserID != "" {
		user, err := tx.Users.Get(q.Resource.ZoneID, q.UserID)
		return user.Consents, err
	}
	app, err := tx.Applications.Get(q.Resource.ZoneID, q.ApplicationID)
	return app.SeedGrants, err
}

// fresh tells whether the grant's access token may be handed out as it is. A
// grant without a refresh token has no other one to give.
func (b *Broker) fresh(g store.Grant) bool {
	left := g.AccessExpiresAt.Sub(b.Clock())
	if g.RefreshToken == "" {
		return left > 0
	}
	return b.Mode == Cached && left > b.MinRemaining
}

// expire marks the grant and returns ErrConsentRequired.
func (b *Broker) expire(g store.Grant) error {
	err := b.Store.Do(func(tx *store.Tx) error {
		now, err := tx.Grants.Get(g.ZoneID, g.ID)
		if err != nil || now.Status != store.GrantActive || now.RefreshToken != g.RefreshToken {
			// Revoked, deleted or renewed meanwhile: that stands.
			return nil //nolint:nilerr // see above
		}
		now.Status = store.GrantExpired
		now.AccessToken, now.RefreshToken = "", ""
		_, err = tx.Grants.Replace(now)
		return err
	})
	if err != nil {
		return err
	}
	return ErrConsentRequired
}

// save stores new tokens in the grant with the id, unless it was revoked while
// they were on their way.
func (b *Broker) save(id string, q Query, t tokens) (Token, error) {
	var out Token
	err := b.Store.Do(func(tx *store.Tx) error {
		g, err := tx.Grants.Get(q.Resource.ZoneID, id)
		if err != nil || g.Status != store.GrantActive {
			return ErrConsentRequired
		}
		b.fill(&g, t)
		now := b.Clock().UTC().Truncate(time.Millisecond)
		g.RefreshedAt = &now
		if g, err = tx.Grants.Replace(g); err != nil {
			return err
		}
		out = tokenOf(g)
		return nil
	})
	return out, err
}

func (b *Broker) fill(g *store.Grant, t tokens) {
	now := b.Clock().UTC()
	g.Status = store.GrantActive
	g.AccessToken = t.access
	g.AccessExpiresAt = now.Add(t.lifetime)
	g.ExpiresAt = g.AccessExpiresAt.Truncate(time.Millisecond)
	if t.refresh != "" {
		g.RefreshToken = t.refresh
	}
	if g.RefreshToken != "" {
		g.ExpiresAt = now.Add(grantLifetime).Truncate(time.Millisecond)
	}
	if t.scopes != nil {
		g.Scopes = t.scopes
	}
}

func tokenOf(g store.Grant) Token {
	return Token{Value: g.AccessToken, Expires: g.AccessExpiresAt, Scopes: g.Scopes}
}
