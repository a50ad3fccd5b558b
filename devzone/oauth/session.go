// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"slices"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Scopes that are about the person and not about a resource.
const (
	scopeOpenID = "openid"
	scopeEmail  = "email"
)

var identityScopes = []string{scopeOpenID, scopeEmail}

// idClaims are the claims of an ID token (OpenID Connect Core 1.0, section 2).
type idClaims struct {
	jwt.Claims
	Nonce           string           `json:"nonce,omitempty"`
	AuthenticatedAt *jwt.NumericDate `json:"auth_time"`
	SessionID       string           `json:"sid"`
	Email           string           `json:"email"`
	EmailVerified   bool             `json:"email_verified"`
}

// issueInSession makes the tokens of a person's session with an application, but
// no refresh token. The access token is what the resource's provider issues: a
// zone token for a resource of the zone, the provider's own token for one of an
// external provider. Without a resource it is a zone token for the userinfo
// endpoint.
func (s *server) issueInSession(ctx context.Context, c call, session store.Session, user store.User, nonce string) (*tokenResponse, error) {
	c.record.Subject, c.record.Requested, c.record.SessionID = user.Identifier, c.scopes, session.ID
	t, err := s.sessionTarget(c, session.Resources)
	if err != nil {
		return nil, err
	}
	c.record.Resource = t.resource.Identifier
	out, err := s.issueAccess(ctx, c, t, session, user)
	if err != nil {
		return nil, err
	}
	if slices.Contains(c.scopes, scopeOpenID) {
		out.IDToken, err = s.idToken(c, session, user, nonce)
	}
	return out, err
}

func (s *server) issueAccess(ctx context.Context, c call, t target, session store.Session, user store.User) (*tokenResponse, error) {
	aboutPerson := func(scope string) bool { return slices.Contains(identityScopes, scope) }
	identity := slices.DeleteFunc(slices.Clone(c.scopes), func(scope string) bool { return !aboutPerson(scope) })
	content := claims{Claims: jwt.Claims{Subject: user.Identifier}, SubProfile: profileUser, SessionID: session.ID}
	if t.resource.ID == "" {
		c.permitted = identity
		return s.sign(c, t, content)
	}
	asked := c
	asked.scopes = slices.DeleteFunc(slices.Clone(c.scopes), aboutPerson)
	permitted, err := s.decide(asked, t, &user, false)
	if err != nil {
		return nil, err
	}
	switch t.kind() {
	case store.ProviderExternal:
		return s.upstream(ctx, c, broker.Query{Resource: t.resource, Provider: *t.provider, UserID: user.ID})
	case store.ProviderSTS:
		if content.Target, err = s.reachable(c, t, user); err != nil {
			return nil, err
		}
		t.resource.Scopes = slices.Concat(t.resource.Scopes, identityScopes)
		c.permitted = slices.Concat(identity, permitted)
		return s.sign(c, t, content)
	default:
		return nil, t.unissuable()
	}
}

// sessionTarget is the resource that a session's access token is for: the one
// that the request names, which must be among those that were authorized, or
// the first of them. Without any it is the zone's userinfo endpoint.
func (s *server) sessionTarget(c call, authorized []string) (t target, err error) {
	requested := c.form["resource"]
	if requested == "" && len(authorized) == 0 {
		return target{resource: store.Resource{
			Identifier: s.Issuers.Of(c.zone.ID) + issuer.UserinfoPath, Scopes: identityScopes,
		}}, nil
	}
	if requested == "" {
		requested = authorized[0]
	}
	err = s.Store.View(func(tx *store.Tx) error {
		if t, err = lookUp(tx, c.zone.ID, requested); err != nil {
			return err
		}
		names := func(name string) bool {
			r, ok := resolve(tx, c.zone.ID, name)
			return ok && r.ID == t.resource.ID
		}
		if !slices.ContainsFunc(authorized, names) {
			return refuse("invalid_target", "Resource %q was not authorized in this session", t.resource.Identifier)
		}
		if !mayAuthorize(tx, c, t.resource) {
			return forbidden(c, t.resource)
		}
		return nil
	})
	return t, err
}

// mayAuthorize tells whether a person may sign in to the application for the
// resource: the application provides it or depends on it. A client that
// registered itself has neither; there the policies decide alone.
func mayAuthorize(tx *store.Tx, c call, r store.Resource) bool {
	if c.client.userAgentID != "" || (r.ApplicationID != nil && *r.ApplicationID == c.client.application.ID) {
		return true
	}
	_, ok := tx.Dependencies.Find(c.zone.ID, store.DependencyKey(c.client.application.ID, r.ID))
	return ok
}

// reachable lists the dependencies of the application that a token for the
// resource can be exchanged for: those that the policies permit and, where a
// provider has to agree, the person has connected. What is refused is left out.
func (s *server) reachable(c call, via target, user store.User) ([]string, error) {
	var candidates []target
	err := s.Store.View(func(tx *store.Tx) error {
		for _, d := range tx.Dependencies.Of(c.zone.ID, c.client.application.ID) {
			if d.ResourceID == via.resource.ID || (len(d.WhenAccessing) > 0 && !slices.Contains(d.WhenAccessing, via.resource.ID)) {
				continue
			}
			resource, err := tx.Resources.Get(c.zone.ID, d.ResourceID)
			if err != nil {
				return err
			}
			t, err := withProvider(tx, resource)
			if err != nil {
				return err
			}
			if connected(tx, t, user) {
				candidates = append(candidates, t)
			}
		}
		return nil
	})
	var names []string
	for _, t := range candidates {
		question := c
		question.scopes, question.record = nil, &Exchange{}
		if _, refused := s.decide(question, t, &user, false); refused == nil {
			names = append(names, t.resource.Identifier)
		}
	}
	return names, err
}

func connected(tx *store.Tx, t target, user store.User) bool {
	if t.kind() != store.ProviderExternal {
		return t.kind() == store.ProviderSTS
	}
	grant, ok := tx.Grants.Find(t.resource.ZoneID, store.GrantKey(user.ID, "", t.resource.ID))
	return ok && grant.Status == store.GrantActive && grant.ProviderID == t.provider.ID
}

func (s *server) idToken(c call, session store.Session, user store.User, nonce string) (string, error) {
	now := s.Clock()
	return s.keys.sign(c.zone.ID, "JWT", idClaims{
		Claims: jwt.Claims{
			Issuer: s.Issuers.Of(c.zone.ID), Subject: user.Identifier, Audience: jwt.Audience{c.client.id()}, ID: store.NewID(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(s.TokenLifetime)),
		},
		Nonce: nonce, AuthenticatedAt: jwt.NewNumericDate(session.AuthenticatedAt), SessionID: session.ID,
		Email: user.Email, EmailVerified: !user.EmailUnverified,
	})
}
