// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// exchange serves token exchange. The checks run in a fixed order, and the
// first that fails decides: subject token, ownership, resource, dependency,
// user, policy, grant.
func (s *server) exchange(ctx context.Context, c call) (*tokenResponse, error) {
	sub, err := s.readSubject(c)
	if err != nil {
		return nil, err
	}
	acting, err := s.readActor(c)
	if err != nil {
		return nil, err
	}
	content := claims{SessionID: sub.sessionID}
	c.subjectClaims = sub.claims
	if acting != nil {
		c.actorClaims, content.Actor = acting.members(), &actor{Subject: acting.Subject}
	}
	c.record.Subject, c.record.Impersonate = sub.identifier, sub.impersonate

	var user store.User
	var t target
	err = s.Store.View(func(tx *store.Tx) error {
		if err := alive(tx, c, sub, s.Clock()); err != nil {
			return err
		}
		via, err := owned(tx, c, sub)
		if err != nil {
			return err
		}
		if t, err = findTarget(tx, c, via); err != nil {
			return err
		}
		var known bool
		if user, known = tx.Users.Find(c.zone.ID, sub.identifier); !known {
			return refuse("invalid_grant", "The subject token names no user of this zone")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.permitted, err = s.decide(c, t, &user, sub.impersonate); err != nil {
		return nil, err
	}
	issued, err := t.issuedType(c.form["requested_token_type"])
	if err != nil {
		return nil, err
	}
	out, err := s.issueForUser(ctx, c, t, user, content)
	if err != nil {
		return nil, err
	}
	out.IssuedTokenType = issued
	return out, nil
}

// clientCredentials serves an application that asks for itself.
func (s *server) clientCredentials(ctx context.Context, c call) (*tokenResponse, error) {
	var t target
	err := s.Store.View(func(tx *store.Tx) error {
		var err error
		t, err = findTarget(tx, c, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.permitted, err = s.decide(c, t, nil, false); err != nil {
		return nil, err
	}
	switch t.kind() {
	case store.ProviderSTS:
		app := c.client.application
		return s.sign(c, t, claims{Claims: jwt.Claims{Subject: app.Identifier}, SubProfile: profileApp, ApplicationID: app.ID})
	case store.ProviderExternal:
		out, err := s.upstream(ctx, c, broker.Query{
			Resource: t.resource, Provider: *t.provider,
			ApplicationID: c.client.application.ID,
		})
		if errors.Is(err, broker.ErrConsentRequired) {
			return nil, refuse("unauthorized_client", "Resource %q takes its tokens from the provider %q, which issues them "+
				"to users: use token exchange, or let the zone hold a grant of the application's own",
				t.resource.Identifier, t.provider.Identifier)
		}
		return out, err
	default:
		return nil, t.unissuable()
	}
}

// decide asks the zone's policies, words their denial, and returns the scopes
// that they permit.
func (s *server) decide(c call, t target, user *store.User, impersonate bool) ([]string, error) {
	var d policy.Decision
	err := s.Store.View(func(tx *store.Tx) error {
		q := policy.Request{
			Application:    c.client.application,
			CredentialType: c.client.credential.Type,
			Registration:   "managed",
			Dependencies:   tx.DependencyIdentifiers(c.zone.ID, c.client.application.ID),
			Resource:       t.resource,
			Subject:        user,
			Impersonate:    impersonate,
			Scopes:         c.scopes,
			ActorClaims:    c.actorClaims,
			SubjectClaims:  c.subjectClaims,
		}
		if _, registered := tx.UserAgents.Find(c.zone.ID, c.client.credential.Identifier); registered {
			q.Registration = "dcr"
		}
		var err error
		d, err = s.Policies.Decide(tx, c.zone.ID, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A provider's token has the scopes of the grant, whatever was asked for, and
	// can't be narrowed: when one of the requested scopes is not permitted, the
	// request is refused. Scopes that were not asked for are not decided, because
	// several applications share a grant, and one would be denied for what
	// another needs.
	if d.Allowed && len(d.Refusing) > 0 && t.kind() == store.ProviderExternal {
		d.Allowed, d.Policies = false, d.Refusing
	}
	c.record.Decision = &d
	if d.Allowed {
		return d.Scopes, nil
	}
	code := "access_denied"
	if impersonate && s.UnauthorizedClientDenial {
		code = "unauthorized_client"
	}
	return nil, refuse(code, "%s", d.Denial())
}

func (s *server) issueForUser(ctx context.Context, c call, t target, user store.User, content claims) (*tokenResponse, error) {
	switch t.kind() {
	case store.ProviderSTS:
		content.Subject, content.SubProfile = user.Identifier, profileUser
		return s.sign(c, t, content)
	case store.ProviderExternal:
		return s.upstream(ctx, c, broker.Query{Resource: t.resource, Provider: *t.provider, UserID: user.ID})
	default:
		return nil, t.unissuable()
	}
}

// upstream hands out a provider's token. It has all the scopes of the grant,
// whatever was requested, and the response says so.
func (s *server) upstream(ctx context.Context, c call, q broker.Query) (*tokenResponse, error) {
	token, err := s.Broker.Token(ctx, q)
	if err != nil {
		return nil, err
	}
	c.record.Granted = token.Scopes
	return s.response(c, token.Value, token.Expires), nil
}

// sign makes a zone token. Of the requested scopes it gets those that the
// resource has and the policies permit.
func (s *server) sign(c call, t target, content claims) (*tokenResponse, error) {
	var granted []string
	for _, scope := range c.permitted {
		if slices.Contains(t.resource.Scopes, scope) {
			granted = append(granted, scope)
		}
	}
	lifetime := s.TokenLifetime
	if seconds := t.resource.CredentialLifetimeSeconds; seconds != nil {
		lifetime = time.Duration(*seconds) * time.Second
	}
	now := s.Clock()
	content.Issuer = s.Issuers.Of(c.zone.ID)
	content.Audience = jwt.Audience{t.resource.Identifier}
	content.ID = store.NewID()
	content.IssuedAt = jwt.NewNumericDate(now)
	content.Expiry = jwt.NewNumericDate(now.Add(lifetime))
	content.ClientID = c.client.id()
	content.Scope = strings.Join(granted, " ")
	token, err := s.keys.sign(c.zone.ID, typeAccess, content)
	if err != nil {
		return nil, err
	}
	c.record.Granted, c.record.TokenID = granted, content.ID
	return s.response(c, token, content.Expiry.Time()), nil
}

// issuedType checks requested_token_type (RFC 8693, section 2.1). Only what the
// zone signs is known to be a JWT.
func (t target) issuedType(requested string) (string, error) {
	switch {
	case requested == "" || requested == typeAccessToken:
		return typeAccessToken, nil
	case requested == typeJWT && t.kind() == store.ProviderSTS:
		return typeJWT, nil
	}
	return "", invalidRequest("requested_token_type %s is not supported for this resource", printable(requested))
}
