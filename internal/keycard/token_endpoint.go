// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Token type identifiers (RFC 8693 section 3, and Keycard's own for impersonation).
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

	TokenTypeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	TokenTypeRefreshToken   = "urn:ietf:params:oauth:token-type:refresh_token"
	TokenTypeIDToken        = "urn:ietf:params:oauth:token-type:id_token"
	TokenTypeJWT            = "urn:ietf:params:oauth:token-type:jwt"
	TokenTypeSubstituteUser = "urn:keycard:params:oauth:token-type:substitute-user"
)

// ZoneClient asks one zone's authorization server for tokens. Get one from a Pool. It holds no
// credential: every request brings its own. It is safe for concurrent use.
type ZoneClient struct {
	transport *transport
	issuer    *url.URL
	metadata  *cached[ServerMetadata]
}

func newZoneClient(t *transport, issuer string) (*ZoneClient, error) {
	u, err := t.options.parseBaseURL("configuring the zone client", issuer)
	if err != nil {
		return nil, err
	}
	z := &ZoneClient{transport: t, issuer: u}
	z.metadata = &cached[ServerMetadata]{op: opMetadata, now: t.options.Now, fetch: z.discover}
	return z, nil
}

// Issuer returns the zone's issuer identifier, without a trailing slash. It is the audience that a
// workload's identity token has to be for.
func (z *ZoneClient) Issuer() string { return z.issuer.String() }

// ExchangeRequest asks for a token in exchange for another (RFC 8693 section 2.1).
type ExchangeRequest struct {
	ClientAuth   ClientAuth
	SubjectToken redacted.String
	// SubjectTokenType is one of the TokenType constants; "" means TokenTypeAccessToken.
	SubjectTokenType string
	// Resource is the identifier of the zone's resource, exactly as registered.
	Resource string
	// Scopes may be empty: the zone then grants its defaults.
	Scopes []string
	// RequestedTokenType is optional.
	RequestedTokenType string
}

// Exchange exchanges a token for another at the zone's token endpoint.
func (z *ZoneClient) Exchange(ctx context.Context, r ExchangeRequest) (Token, error) {
	const op = "exchanging the token"
	if r.SubjectToken.IsZero() {
		return Token{}, misconfigured(op, "the subject token is empty")
	}
	form := url.Values{
		"grant_type":         {grantTokenExchange},
		"subject_token":      {r.SubjectToken.Reveal()},
		"subject_token_type": {firstNonEmpty(r.SubjectTokenType, TokenTypeAccessToken)},
	}
	if r.RequestedTokenType != "" {
		form.Set("requested_token_type", r.RequestedTokenType)
	}
	return z.request(ctx, tokenCall{
		op: op, auth: r.ClientAuth, form: form, resource: r.Resource, scopes: r.Scopes,
		requestedType: r.RequestedTokenType, secrets: []redacted.String{r.SubjectToken},
	})
}

// ClientCredentialsRequest asks for a token for the application itself (RFC 6749 section 4.4).
type ClientCredentialsRequest struct {
	ClientAuth ClientAuth
	// Resource is the identifier of the zone's resource, exactly as registered.
	Resource string
	Scopes   []string
}

// ClientCredentials gets a token for the application itself.
func (z *ZoneClient) ClientCredentials(ctx context.Context, r ClientCredentialsRequest) (Token, error) {
	return z.request(ctx, tokenCall{
		op: "getting the application's token", auth: r.ClientAuth, resource: r.Resource, scopes: r.Scopes,
		form: url.Values{"grant_type": {"client_credentials"}},
	})
}

// RefreshRequest asks for a token with a refresh token (RFC 6749 section 6).
type RefreshRequest struct {
	ClientAuth   ClientAuth
	RefreshToken redacted.String
	// Resource is the identifier of the zone's resource, exactly as registered. Empty asks for the token of the session
	// itself, which can be exchanged.
	Resource string
	Scopes   []string
}

// Refresh gets a token with a refresh token. The zone rotates refresh tokens: the one in the answer, if
// any, has to replace the one of the request.
func (z *ZoneClient) Refresh(ctx context.Context, r RefreshRequest) (Token, error) {
	const op = "refreshing the token"
	if r.RefreshToken.IsZero() {
		return Token{}, misconfigured(op, "the refresh token is empty")
	}
	return z.request(ctx, tokenCall{
		op: op, auth: r.ClientAuth, resource: r.Resource, ownResource: true, scopes: r.Scopes,
		form:    url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}},
		secrets: []redacted.String{r.RefreshToken},
	})
}

// request checks what all grants have in common, finds the token endpoint and asks it.
func (z *ZoneClient) request(ctx context.Context, c tokenCall) (Token, error) {
	if c.auth == nil {
		return Token{}, misconfigured(c.op, "the client authentication is missing")
	}
	if problem := c.auth.check(); problem != "" {
		return Token{}, misconfigured(c.op, "%s", problem)
	}
	if c.resource == "" && !c.ownResource {
		return Token{}, misconfigured(c.op, "the resource is empty")
	}
	if i := slices.IndexFunc(c.scopes, func(s string) bool { return !isScope(s) }); i >= 0 {
		return Token{}, misconfigured(c.op, "scope %d is empty or has characters that a scope cannot have", i+1)
	}
	if c.resource != "" {
		c.form.Set("resource", c.resource)
	}
	if len(c.scopes) > 0 {
		c.form.Set("scope", strings.Join(c.scopes, " "))
	}
	metadata, err := z.Metadata(ctx)
	if err != nil {
		return Token{}, err
	}
	c.url = metadata.TokenEndpoint
	t, err := z.transport.requestToken(ctx, c)
	if e, ok := AsError(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusGone) {
		// The endpoint has moved, perhaps: look again next time.
		z.metadata.drop(func(m ServerMetadata) bool { return m == metadata })
	}
	return t, err
}

// tokenCall is one request to a token endpoint.
type tokenCall struct {
	op       string
	url      string
	auth     ClientAuth
	form     url.Values
	resource string
	// ownResource: without a resource the zone takes the one the grant was made for.
	ownResource   bool
	scopes        []string
	requestedType string
	secrets       []redacted.String
}

// requestToken adds the credential to the form, posts it and validates the answer.
func (t *transport) requestToken(ctx context.Context, tc tokenCall) (Token, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	tc.auth.apply(header, tc.form)
	c := call{
		op: tc.op, method: http.MethodPost, url: tc.url, header: header, body: []byte(tc.form.Encode()),
		secrets: append(tc.auth.secrets(), tc.secrets...),
	}
	observedAt := t.options.Now()
	a, err := t.do(ctx, c)
	if err != nil {
		return Token{}, err
	}
	token, err := parseToken(a.body, tc.scopes, observedAt)
	switch {
	case errors.Is(err, errNoToken):
		return Token{}, t.signed(t.noTokenError(c, a))
	case errors.Is(err, ErrTokenUnusable):
		return Token{}, t.signed(&Error{Op: c.op, Class: Misconfigured, Description: err.Error(), Err: ErrTokenUnusable})
	case err != nil:
		return Token{}, t.signed(malformedError(c.op, a))
	case !typeAcceptable(token.IssuedTokenType, tc.requestedType):
		return Token{}, t.signed(&Error{
			Op: c.op, Class: Misconfigured, Err: ErrTokenUnusable,
			Description: "the zone issued a token of type " + token.IssuedTokenType + ", which was not asked for",
		})
	}
	return token, nil
}

// noTokenError judges a JSON object without a token: some servers answer errors with status 200.
func (t *transport) noTokenError(c call, a answer) *Error {
	if body := parseErrorBody(a.body); body.code != "" {
		return newAnswerError(c, a, body, t.options.Now())
	}
	return &Error{Op: c.op, Status: a.status, Class: Transient, Description: errNoToken.Error()}
}

// typeAcceptable checks issued_token_type (RFC 8693 section 2.2.1). Without a wish, anything that is not
// plainly another kind of token will do.
func typeAcceptable(issued, requested string) bool {
	switch issued {
	case "", requested:
		return true
	case TokenTypeAccessToken, TokenTypeJWT:
		return requested == "" || requested == TokenTypeAccessToken
	default:
		return requested == "" && issued != TokenTypeRefreshToken && issued != TokenTypeIDToken
	}
}
