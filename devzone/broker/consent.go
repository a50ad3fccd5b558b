// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// AuthorizationURL is where a person's browser goes to agree (RFC 6749,
// section 4.1.1), with what the provider object adds to it. The provider sends
// the browser back to the zone's redirect_uri.
func (b *Broker) AuthorizationURL(ctx context.Context, q Query, state string) (string, error) {
	e, err := b.endpointsOf(ctx, q.Provider)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(e.Authorization)
	if err != nil {
		return "", &UpstreamError{
			Provider: q.Provider.Identifier, Step: "starting the authorization",
			Detail: "authorization_endpoint is no URL",
		}
	}
	o := oauth2Of(q.Provider)
	v := u.Query()
	for name, value := range o.AuthorizationParameters {
		v.Set(name, value)
	}
	v.Set("response_type", "code")
	v.Set("client_id", deref(q.Provider.ClientID))
	v.Set("redirect_uri", b.redirectURI(q))
	v.Set("state", state)
	if len(q.Resource.Scopes) > 0 {
		v.Set(or(o.ScopeParameter, "scope"), strings.Join(q.Resource.Scopes, or(o.ScopeSeparator, " ")))
	}
	if o.AuthorizationResourceEnabled != nil && *o.AuthorizationResourceEnabled {
		v.Set(or(o.AuthorizationResourceParameter, "resource"), q.Resource.Identifier)
	}
	u.RawQuery = v.Encode()
	return u.String(), nil
}

// Complete redeems the code that the provider sent to the redirect_uri and
// stores the grant. It uses up the owner's seeded consent, so that a grant that
// is revoked or deleted later is not made again silently.
func (b *Broker) Complete(ctx context.Context, q Query, code string) (Token, error) {
	t, err := b.redeem(ctx, q.Provider, code, b.redirectURI(q))
	if err != nil {
		return Token{}, err
	}
	if t.scopes == nil {
		t.scopes = q.Resource.Scopes
	}
	var out Token
	err = b.Store.Do(func(tx *store.Tx) error {
		if err := useUp(tx, q); err != nil {
			return err
		}
		g, found := tx.Grants.Find(q.Resource.ZoneID, q.key())
		g.ZoneID, g.UserID, g.ApplicationID = q.Resource.ZoneID, q.UserID, q.ApplicationID
		g.ResourceID, g.ProviderID = q.Resource.ID, q.Provider.ID
		g.RefreshToken = ""
		b.fill(&g, t)
		put := tx.Grants.Insert
		if found {
			put = tx.Grants.Replace
		}
		g, err := put(g)
		out = tokenOf(g)
		return err
	})
	return out, err
}

func useUp(tx *store.Tx, q Query) error {
	keep := func(given []store.Consent) []store.Consent {
		return slices.DeleteFunc(slices.Clone(given), func(c store.Consent) bool {
			return c.Resource == q.Resource.Identifier
		})
	}
	if q.UserID != "" {
		user, err := tx.Users.Get(q.Resource.ZoneID, q.UserID)
		if err != nil {
			return err
		}
		user.Consents = keep(user.Consents)
		_, err = tx.Users.Replace(user)
		return err
	}
	app, err := tx.Applications.Get(q.Resource.ZoneID, q.ApplicationID)
	if err != nil {
		return err
	}
	app.SeedGrants = keep(app.SeedGrants)
	_, err = tx.Applications.Replace(app)
	return err
}

func (b *Broker) redirectURI(q Query) string {
	return b.Issuers.Of(q.Resource.ZoneID) + issuer.RedirectPath
}

func or(s *string, otherwise string) string {
	if s == nil || *s == "" {
		return otherwise
	}
	return *s
}
