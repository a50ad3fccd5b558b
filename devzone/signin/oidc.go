// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// maxIdentity is the longest identifier and e-mail address that is taken over.
const maxIdentity = 1024

// identityProviders keeps what was discovered about identity providers.
type identityProviders struct {
	mu    sync.Mutex
	known map[string]*oidc.Provider
}

// identityProvider returns the zone's identity provider, discovered once for
// each version of the provider object.
func (s *server) identityProvider(ctx context.Context, zone store.Zone) (store.Provider, *oidc.Provider, error) {
	var row store.Provider
	err := s.Store.View(func(tx *store.Tx) (err error) {
		row, err = tx.Providers.Get(zone.ID, *zone.UserIdentityProviderID)
		return err
	})
	if err != nil {
		return row, nil, err
	}
	key := row.ID + " " + row.UpdatedAt.String()
	s.providers.mu.Lock()
	found := s.providers.known[key]
	s.providers.mu.Unlock()
	if found != nil {
		return row, found, nil
	}
	// The context stays with the provider: it fetches keys later on.
	found, err = discover(s.outbound(context.WithoutCancel(ctx)), row)
	if err != nil {
		return row, nil, &identityError{provider: row.Name, cause: fmt.Errorf("reading its metadata: %w", err)}
	}
	s.providers.mu.Lock()
	defer s.providers.mu.Unlock()
	if s.providers.known == nil {
		s.providers.known = map[string]*oidc.Provider{}
	}
	s.providers.known[key] = found
	return row, found, nil
}

// discover reads the provider's metadata (OpenID Connect Discovery 1.0, section
// 4). Endpoints of the provider object take the place of those.
func discover(ctx context.Context, row store.Provider) (*oidc.Provider, error) {
	var set store.ProviderOAuth2
	var openid store.ProviderOpenID
	if row.Protocols != nil && row.Protocols.OAuth2 != nil {
		set = *row.Protocols.OAuth2
	}
	if row.Protocols != nil && row.Protocols.OpenID != nil {
		openid = *row.Protocols.OpenID
	}
	found, err := oidc.NewProvider(ctx, row.Issuer())
	if err != nil {
		return nil, err
	}
	var c oidc.ProviderConfig
	if err := found.Claims(&c); err != nil {
		return nil, err
	}
	replace := map[*string]*string{
		&c.AuthURL: set.AuthorizationEndpoint, &c.TokenURL: set.TokenEndpoint, &c.JWKSURL: set.JWKSURI,
		&c.UserInfoURL: openid.UserinfoEndpoint,
	}
	for field, value := range replace {
		if value != nil && *value != "" {
			*field = *value
		}
	}
	// A provider that announces "none" among its algorithms does not get it.
	c.Algorithms = slices.DeleteFunc(c.Algorithms, func(a string) bool { return !slices.Contains(algorithms, a) })
	return c.NewProvider(ctx), nil
}

// algorithms are those that an ID token may be signed with.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// maxAnswer is the largest answer of an identity provider in bytes.
const maxAnswer = 1 << 20

// outbound is a context with the client for requests to identity providers,
// whose libraries read answers of any size otherwise.
func (s *server) outbound(ctx context.Context) context.Context {
	c := *s.Client
	c.Transport = bounded{cmp.Or(c.Transport, http.DefaultTransport)}
	return oidc.ClientContext(ctx, &c)
}

type bounded struct{ http.RoundTripper }

// RoundTrip cuts the answer off at maxAnswer.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// identityError is a fault of the identity provider or of how it is set up.
type identityError struct {
	provider string
	cause    error
}

// Error names the provider and the cause.
func (e *identityError) Error() string {
	return "signing in with " + e.provider + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *identityError) Unwrap() error { return e.cause }

func (s *server) oauth2Config(zoneID string, row store.Provider, p *oidc.Provider) *oauth2.Config {
	c := &oauth2.Config{
		Endpoint: p.Endpoint(), RedirectURL: s.Issuers.Of(zoneID) + issuer.RedirectPath,
		Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
	}
	if row.Protocols != nil && row.Protocols.OpenID != nil && len(row.Protocols.OpenID.Scopes) > 0 {
		c.Scopes = merged([]string{oidc.ScopeOpenID}, row.Protocols.OpenID.Scopes)
	}
	if row.ClientID != nil {
		c.ClientID = *row.ClientID
	}
	if row.ClientSecret != nil {
		c.ClientSecret = *row.ClientSecret
	}
	return c
}

// toIdentityProvider hands the browser over.
func (s *server) toIdentityProvider(w http.ResponseWriter, r *http.Request, j journey) {
	row, p, err := s.identityProvider(r.Context(), j.zone)
	if err != nil {
		s.notSignedIn(w, r, j, err)
		return
	}
	nonce, verifier := store.NewSecret(), oauth2.GenerateVerifier()
	state, err := s.await(j, func(i *store.Interaction) { i.UpstreamResource, i.IDNonce, i.IDVerifier = "", nonce, verifier })
	if err != nil {
		s.failed(w, r, err)
		return
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}
	if j.again() {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	}
	if j.LoginHint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", j.LoginHint))
	}
	s.leave(w, r, s.Locate(s.oauth2Config(j.zone.ID, row, p).AuthCodeURL(state, options...)))
}

// fromIdentityProvider takes the person over who comes back.
func (s *server) fromIdentityProvider(w http.ResponseWriter, r *http.Request, j journey, awaited store.Interaction) {
	q := r.URL.Query()
	if code := q.Get("error"); code != "" {
		s.notSignedIn(w, r, j, errors.New(clean(code)+": "+clean(q.Get("error_description"))))
		return
	}
	who, err := s.identify(r.Context(), j.zone, q, awaited)
	if err != nil {
		s.notSignedIn(w, r, j, err)
		return
	}
	user, err := s.admit(j.zone, who)
	if err != nil {
		s.notSignedIn(w, r, j, err)
		return
	}
	session, err := s.enter(w, j, user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.Observe(r.Context(), Outcome{
		Kind: "sign-in", Zone: j.zone.ID, User: user.Identifier, Application: j.app.Identifier, Session: session.ID,
	})
	s.see(w, r, continuePath, j.ID)
}

// notSignedIn says why the identity provider did not sign the person in.
func (s *server) notSignedIn(w http.ResponseWriter, r *http.Request, j journey, err error) {
	s.Observe(r.Context(), Outcome{Kind: "sign-in", Zone: j.zone.ID, Application: j.app.Identifier, Refusal: err.Error()})
	if _, ok := errors.AsType[*notInvitedError](err); ok {
		s.finishWith(w, r, j, url.Values{"error": {"access_denied"}, "error_description": {err.Error()}})
		return
	}
	s.Logger.WarnContext(r.Context(), "identity provider", "zone", j.zone.ID, "error", err)
	s.finishWith(w, r, j, url.Values{"error": {"server_error"}, "error_description": {"The identity provider did not sign the person in."}})
}

// identity is what an ID token says of a person.
type identity struct {
	provider        store.Provider
	issuer, subject string
	identifier      string
	email           string
	emailVerified   bool
}

// identify redeems the code and checks the ID token (OpenID Connect Core 1.0,
// section 3.1.3.7).
func (s *server) identify(ctx context.Context, zone store.Zone, q url.Values, awaited store.Interaction) (identity, error) {
	row, p, err := s.identityProvider(ctx, zone)
	if err != nil {
		return identity{}, err
	}
	fault := func(cause error) error { return &identityError{provider: row.Name, cause: cause} }
	if iss := q.Get("iss"); iss != "" && iss != row.Issuer() {
		return identity{}, fault(errors.New("the answer is another issuer's"))
	}
	config, ctx := s.oauth2Config(zone.ID, row, p), s.outbound(ctx)
	tokens, err := config.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(awaited.IDVerifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			// The library's text holds the whole answer.
			return identity{}, fault(fmt.Errorf("it refused the code: %s", clean(refused.ErrorCode)))
		}
		return identity{}, fault(errors.New("its token endpoint did not answer"))
	}
	claims, err := s.claims(ctx, p, config.ClientID, tokens, awaited.IDNonce)
	if err != nil {
		return identity{}, fault(err)
	}
	who, err := readIdentity(row, claims)
	if err != nil {
		return identity{}, fault(err)
	}
	return who, nil
}

// claims are those of a valid ID token, with what the userinfo endpoint adds.
func (s *server) claims(ctx context.Context, p *oidc.Provider, clientID string, tokens *oauth2.Token, nonce string) (map[string]any, error) {
	raw, _ := tokens.Extra("id_token").(string)
	token, err := p.Verifier(&oidc.Config{ClientID: clientID, Now: s.Clock}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("checking its ID token: %w", err)
	}
	if token.Nonce != nonce {
		return nil, errors.New("its ID token is for another sign-in")
	}
	claims, more := map[string]any{}, map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("reading its ID token: %w", err)
	}
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil || info.Subject != token.Subject || info.Claims(&more) != nil {
		// The ID token may do without.
		return claims, nil //nolint:nilerr // readIdentity tells if something is missing
	}
	for name, value := range more {
		if _, there := claims[name]; !there {
			claims[name] = value
		}
	}
	return claims, nil
}

func readIdentity(row store.Provider, claims map[string]any) (identity, error) {
	who := identity{provider: row}
	who.issuer, _ = claims["iss"].(string)
	who.subject, _ = claims["sub"].(string)
	who.email, _ = claims["email"].(string)
	who.emailVerified, _ = claims["email_verified"].(bool)
	if row.Protocols != nil && row.Protocols.OpenID != nil && row.Protocols.OpenID.UserIdentifierClaim != nil {
		name := *row.Protocols.OpenID.UserIdentifierClaim
		if who.identifier, _ = claims[name].(string); who.identifier == "" {
			return who, fmt.Errorf("it did not send the claim %s, which names users here", name)
		}
	}
	if who.subject == "" {
		return who, errors.New("its ID token has no subject")
	}
	for _, text := range []string{who.email, who.identifier, who.subject} {
		if len(text) > maxIdentity || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return who, errors.New("it sent an e-mail address or identifier that can't be used")
		}
	}
	return who, nil
}

// notInvitedError refuses a person whom the zone does not know.
type notInvitedError struct{ email string }

// Error words it for the person.
func (e *notInvitedError) Error() string {
	return "This zone admits people by invitation, and " + e.email + " has none."
}

// admit finds the user that an identity belongs to, or makes one. A user who
// was there before (invited, or of the zone's own) is taken over by her verified
// e-mail address.
func (s *server) admit(zone store.Zone, who identity) (store.User, error) {
	var user store.User
	err := s.Store.Do(func(tx *store.Tx) error {
		same := tx.Users.All(zone.ID, func(u store.User) bool { return u.Issuer == who.issuer && u.Subject == who.subject })
		if len(same) > 0 {
			user = same[0]
			if who.email == "" || (user.Email == who.email && user.EmailUnverified == !who.emailVerified) {
				return nil
			}
			user.Email, user.EmailUnverified = who.email, !who.emailVerified
			var err error
			user, err = tx.Users.Replace(user)
			return err
		}
		invited := tx.Users.All(zone.ID, func(u store.User) bool {
			return u.Subject == "" && who.emailVerified && strings.EqualFold(u.Email, who.email)
		})
		if len(invited) == 0 && zone.RequiresInvitation {
			return &notInvitedError{email: who.email}
		}
		put := tx.Users.Insert
		user = store.User{Meta: store.Meta{ID: store.NewID(), ZoneID: zone.ID}, Email: who.email, EmailUnverified: !who.emailVerified}
		user.Identifier = user.ID
		if len(invited) > 0 {
			user, put = invited[0], tx.Users.Replace
		}
		if who.identifier != "" {
			user.Identifier = who.identifier
		}
		user.ProviderID, user.Issuer, user.Subject = who.provider.ID, who.issuer, who.subject
		var err error
		user, err = put(user)
		return err
	})
	return user, err
}
