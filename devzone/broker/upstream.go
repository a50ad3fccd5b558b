// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

const (
	// maxAnswer is the largest answer of a provider in bytes.
	maxAnswer = 1 << 20
	// assumedLifetime is the life of an upstream token that comes without one.
	assumedLifetime = time.Hour
)

// UpstreamError says that a provider could not be reached or refused. Its text
// holds no credentials: of the answer only the error code is kept.
type UpstreamError struct {
	// Provider is the provider's identifier.
	Provider string
	// Step says what was asked for, such as "refreshing the token".
	Step string
	// Status is the HTTP status, or 0 without an answer.
	Status int
	// Code is the OAuth error code of the answer, if any.
	Code string
	// Detail adds what a person needs to put it right.
	Detail string
	// RetryAfter is the answer's header, verbatim.
	RetryAfter string
}

// Error names the provider, the step and what came back.
func (e *UpstreamError) Error() string {
	text := fmt.Sprintf("upstream provider %q failed while %s", e.Provider, e.Step)
	if e.Status != 0 {
		text += fmt.Sprintf(": HTTP %d", e.Status)
	}
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Temporary tells whether the same request may work later.
func (e *UpstreamError) Temporary() bool {
	unreachable := e.Status == 0 && e.Detail == ""
	return unreachable || e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError
}

// tokens is a provider's answer.
type tokens struct {
	access, refresh string
	lifetime        time.Duration
	// scopes is nil when the answer has none, which means "as before".
	scopes []string
}

// endpoints are where a provider's flow takes place.
type endpoints struct {
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
}

// endpointsOf takes the endpoints from the provider object and discovers the
// missing ones from its issuer (RFC 8414).
func (b *Broker) endpointsOf(ctx context.Context, p store.Provider) (endpoints, error) {
	o := oauth2Of(p)
	e := endpoints{Authorization: deref(o.AuthorizationEndpoint), Token: deref(o.TokenEndpoint)}
	if e.Authorization != "" && e.Token != "" {
		return e, nil
	}
	const step = "reading its metadata"
	target, err := url.Parse(strings.TrimSuffix(o.Issuer, "/") + "/.well-known/oauth-authorization-server")
	if err != nil || target.Host == "" {
		return e, &UpstreamError{
			Provider: p.Identifier, Step: step,
			Detail: "its issuer is no URL, so authorization_endpoint and token_endpoint must be set",
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return e, fmt.Errorf("making a metadata request: %w", err)
	}
	body, err := b.send(req, p, step)
	if err != nil {
		return e, err
	}
	var found endpoints
	if json.Unmarshal(body, &found) != nil || found.Authorization == "" || found.Token == "" {
		return e, &UpstreamError{
			Provider: p.Identifier, Step: step,
			Detail: "the document lacks authorization_endpoint or token_endpoint",
		}
	}
	if e.Authorization == "" {
		e.Authorization = found.Authorization
	}
	if e.Token == "" {
		e.Token = found.Token
	}
	return e, nil
}

func (b *Broker) redeem(ctx context.Context, p store.Provider, code, redirectURI string) (tokens, error) {
	return b.tokenRequest(ctx, p, "redeeming the authorization code", map[string]string{
		"grant_type": "authorization_code", "code": code, "redirect_uri": redirectURI,
	})
}

func (b *Broker) refresh(ctx context.Context, p store.Provider, refreshToken string) (tokens, error) {
	return b.tokenRequest(ctx, p, "refreshing the token", map[string]string{
		"grant_type": "refresh_token", "refresh_token": refreshToken,
	})
}

// tokenRequest sends JSON, which is what Atlassian documents.
func (b *Broker) tokenRequest(ctx context.Context, p store.Provider, step string, fields map[string]string) (tokens, error) {
	e, err := b.endpointsOf(ctx, p)
	if err != nil {
		return tokens{}, err
	}
	fields["client_id"], fields["client_secret"] = deref(p.ClientID), deref(p.ClientSecret)
	payload, err := json.Marshal(fields)
	if err != nil {
		return tokens{}, fmt.Errorf("encoding a token request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.Token, bytes.NewReader(payload))
	if err != nil {
		return tokens{}, &UpstreamError{Provider: p.Identifier, Step: step, Detail: "token_endpoint is no URL"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	body, err := b.send(req, p, step)
	if err != nil {
		return tokens{}, err
	}
	t, ok := parseTokens(body, deref(oauth2Of(p).AccessTokenPointer))
	if !ok {
		return tokens{}, &UpstreamError{Provider: p.Identifier, Step: step, Detail: "the answer holds no access token"}
	}
	return t, nil
}

// send returns the body of a 200.
func (b *Broker) send(req *http.Request, p store.Provider, step string) ([]byte, error) {
	resp, err := b.Client.Do(req)
	if err != nil {
		// The error names the URL, which is the provider's own and no secret.
		return nil, &UpstreamError{Provider: p.Identifier, Step: step}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &UpstreamError{Provider: p.Identifier, Step: step}
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	var refusal struct {
		Error string `json:"error"`
	}
	// An answer that is not JSON has no code, and the status says enough.
	_ = json.Unmarshal(body, &refusal)
	return nil, &UpstreamError{
		Provider: p.Identifier, Step: step, Status: resp.StatusCode,
		Code: errorCode(refusal.Error), RetryAfter: resp.Header.Get("Retry-After"),
	}
}

// errorCode keeps a provider's word only when it looks like an error code.
func errorCode(s string) string {
	word := strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
	if !word || len(s) > 64 {
		return ""
	}
	return s
}

func parseTokens(body []byte, pointer string) (tokens, bool) {
	var answer struct {
		RefreshToken string          `json:"refresh_token"`
		Scope        *string         `json:"scope"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
	}
	var all map[string]any
	if json.Unmarshal(body, &answer) != nil || json.Unmarshal(body, &all) != nil {
		return tokens{}, false
	}
	if pointer == "" {
		pointer = "access_token"
	}
	t := tokens{access: follow(all, pointer), refresh: answer.RefreshToken, lifetime: assumedLifetime}
	seconds, err := strconv.ParseInt(strings.Trim(string(answer.ExpiresIn), `"`), 10, 32)
	if err == nil && seconds > 0 {
		t.lifetime = time.Duration(seconds) * time.Second
	}
	if answer.Scope != nil {
		t.scopes = strings.Fields(*answer.Scope)
	}
	return t, t.access != ""
}

// follow walks a dotted path to a string.
func follow(value any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		m, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = m[name]
	}
	s, _ := value.(string)
	return s
}

func oauth2Of(p store.Provider) store.ProviderOAuth2 {
	if p.Protocols == nil || p.Protocols.OAuth2 == nil {
		return store.ProviderOAuth2{Issuer: p.Identifier}
	}
	return *p.Protocols.OAuth2
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
