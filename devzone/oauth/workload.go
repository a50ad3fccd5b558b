// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// authenticateWorkload accepts a token that a platform, such as a Kubernetes
// cluster, issued to a workload, and finds the application credential that
// trusts it. The token may be used many times: the platform decides how long it
// lives.
func (s *server) authenticateWorkload(ctx context.Context, zoneID string, a assertion, clientID string) (store.Credential, error) {
	var none store.Credential
	provider, known := s.platform(zoneID, a.claims.Issuer)
	if !known {
		return none, badAssertion("has the issuer %q, which no provider of the zone has", printable(a.claims.Issuer))
	}
	keys, err := s.platformKeys(ctx, provider, a)
	if err != nil {
		return none, unfetched(err)
	}
	if err := a.verify(keys, s.audiences(zoneID), s.Clock()); err != nil {
		return none, err
	}
	var trusting []store.Credential
	var named store.Application
	_ = s.Store.View(func(tx *store.Tx) error {
		trusting = tx.Trusting(zoneID, provider.ID, a.claims.Subject)
		named, _ = tx.Applications.Find(zoneID, clientID)
		return nil
	})
	if len(trusting) == 0 {
		return none, badAssertion("has the subject %q, which no application credential of the provider %q accepts",
			printable(a.claims.Subject), provider.Identifier)
	}
	return choose(trusting, clientID, named.ID)
}

// platform returns the provider with the issuer.
func (s *server) platform(zoneID, issuer string) (found store.Provider, ok bool) {
	matches := func(p store.Provider) bool { return p.Type == store.ProviderExternal && p.Issuer() == issuer }
	_ = s.Store.View(func(tx *store.Tx) error {
		// Most providers are named by their issuer.
		if found, ok = tx.Providers.Find(zoneID, issuer); ok && matches(found) {
			return nil
		}
		all := tx.Providers.All(zoneID, matches)
		if ok = len(all) > 0; ok {
			found = all[0]
		}
		return nil
	})
	return found, ok
}

// platformKeys returns the keys that may have made the signature: from the
// provider's jwks_uri, or else from the one that its issuer publishes.
func (s *server) platformKeys(ctx context.Context, p store.Provider, a assertion) ([]jose.JSONWebKey, error) {
	uri := ""
	if p.Protocols != nil && p.Protocols.OAuth2 != nil && p.Protocols.OAuth2.JWKSURI != nil {
		uri = *p.Protocols.OAuth2.JWKSURI
	}
	if uri == "" {
		var err error
		if uri, err = s.documents.KeySetURI(ctx, a.claims.Issuer); err != nil {
			return nil, err
		}
	}
	return s.documents.Keys(ctx, uri, a.header.KeyID)
}

// choose picks one of the credentials that accept a token. A client_id helps if
// it is the id of one of them, or the identifier of an application that has one,
// and is ignored otherwise. The exact subject comes before any subject.
func choose(trusting []store.Credential, clientID, applicationID string) (store.Credential, error) {
	if i := slices.IndexFunc(trusting, func(c store.Credential) bool { return c.ID == clientID }); i >= 0 {
		return trusting[i], nil
	}
	for _, preferred := range []func(store.Credential) bool{
		func(c store.Credential) bool { return c.ApplicationID == applicationID },
		func(c store.Credential) bool { return c.Subject != nil },
	} {
		if some := slices.DeleteFunc(slices.Clone(trusting), func(c store.Credential) bool { return !preferred(c) }); len(some) > 0 {
			trusting = some
		}
	}
	if len(trusting) > 1 {
		return store.Credential{}, badAssertion("is accepted by %d application credentials: name one with client_id, "+
			"which is the credential's id", len(trusting))
	}
	return trusting[0], nil
}
