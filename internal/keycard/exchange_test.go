// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

func TestExchangeRequest(t *testing.T) {
	const resource = "https://api.atlassian.com/ex/confluence"
	workload := keycard.JWTBearerAssertion{Assertion: redacted.New(workloadJWT)}
	tests := map[string]struct {
		request   keycard.ExchangeRequest
		form      url.Values
		basicAuth bool
	}{
		"client secret": {
			request: exchangeRequest(),
			form: url.Values{
				"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token":      {subjectToken},
				"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
				"resource":           {resource},
				"scope":              {"read:confluence-content.all"},
			},
			basicAuth: true,
		},
		"workload identity": {
			request: keycard.ExchangeRequest{
				ClientAuth: workload, SubjectToken: redacted.New(subjectToken), SubjectTokenType: keycard.TokenTypeSubstituteUser,
				Resource: resource, RequestedTokenType: keycard.TokenTypeAccessToken,
			},
			form: url.Values{
				"grant_type":            {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token":         {subjectToken},
				"subject_token_type":    {"urn:keycard:params:oauth:token-type:substitute-user"},
				"requested_token_type":  {"urn:ietf:params:oauth:token-type:access_token"},
				"resource":              {resource},
				"client_assertion":      {workloadJWT},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			},
		},
		"workload identity with a client id": {
			request: keycard.ExchangeRequest{
				ClientAuth:   keycard.JWTBearerAssertion{Assertion: redacted.New(workloadJWT), ClientID: "cred-1"},
				SubjectToken: redacted.New(subjectToken), Resource: resource, Scopes: []string{"a", "b"},
			},
			form: url.Values{
				"grant_type":            {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token":         {subjectToken},
				"subject_token_type":    {"urn:ietf:params:oauth:token-type:access_token"},
				"resource":              {resource},
				"scope":                 {"a b"},
				"client_id":             {"cred-1"},
				"client_assertion":      {workloadJWT},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
			z := zoneClient(t, s, options())
			for range 2 { // nothing of the first call may linger in the second
				_, err := z.Exchange(context.Background(), tc.request)
				g.Expect(err).NotTo(HaveOccurred())
			}
			for _, sent := range s.requests(tokenPath) {
				g.Expect(sent.form(t)).To(Equal(tc.form))
				g.Expect(sent.header.Get("Content-Type")).To(Equal("application/x-www-form-urlencoded"))
				g.Expect(sent.header.Get("Authorization") != "").To(Equal(tc.basicAuth))
				g.Expect(sent.query).To(BeEmpty())
			}
		})
	}
}

func TestPublicClient(t *testing.T) {
	g := NewWithT(t)
	s := newZone(t)
	s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
	_, err := zoneClient(t, s, options()).Refresh(context.Background(), keycard.RefreshRequest{
		ClientAuth: keycard.PublicClient{ClientID: "pub"}, RefreshToken: redacted.New(refreshTokenSent), Resource: "r",
	})
	g.Expect(err).NotTo(HaveOccurred())
	sent := s.requests(tokenPath)[0]
	g.Expect(sent.form(t)).To(Equal(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshTokenSent}, "resource": {"r"}, "client_id": {"pub"},
	}))
	g.Expect(sent.header).NotTo(HaveKey("Authorization"))
}

func TestExchangeResult(t *testing.T) {
	g := NewWithT(t)
	s := newZone(t)
	s.on("POST "+tokenPath, answer(200, `{"access_token":"`+issuedToken+`","refresh_token":"`+issuedRefresh+`","token_type":"bearer","expires_in":3600,
		"scope":"read:confluence-content.all offline_access","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","user_id":"u"}`))
	c := newClock()
	o := options()
	o.Now = c.now
	token, err := exchange(zoneClient(t, s, o))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(token.AccessToken.Reveal()).To(Equal(issuedToken))
	g.Expect(token.RefreshToken.Reveal()).To(Equal(issuedRefresh))
	g.Expect(token.TokenType).To(Equal("Bearer"))
	g.Expect(token.Scopes).To(Equal([]string{"read:confluence-content.all", "offline_access"}))
	g.Expect(token.IssuedTokenType).To(Equal(keycard.TokenTypeAccessToken))
	g.Expect(token.ExpiresIn).To(Equal(time.Hour))
	g.Expect(token.Lifetime).To(Equal(keycard.Lifetime{Source: keycard.LifetimeFromExpiresIn, Announced: keycard.AnnouncementGiven}))
	g.Expect(token.ObservedAt).To(Equal(c.now()))
}

func TestObservedAtIsBeforeTheAnswer(t *testing.T) {
	g := NewWithT(t)
	s := newZone(t)
	c := newClock()
	sentAt := c.now()
	slow := answer(200, tokenAnswer(issuedToken, "60"))
	s.on("POST "+tokenPath, inTurn(slow))
	o := options()
	o.Now = c.now
	z := zoneClient(t, s, o)
	_, err := z.Metadata(context.Background())
	g.Expect(err).NotTo(HaveOccurred())
	s.on("POST "+tokenPath, func(w http.ResponseWriter, r *http.Request) {
		c.advance(25 * time.Second)
		slow(w, r)
	})
	token, err := exchange(z)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(token.ObservedAt).To(Equal(sentAt), "a slow answer must not stretch the token's life")
}

func TestOtherGrants(t *testing.T) {
	g := NewWithT(t)
	s := newZone(t)
	s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
	z := zoneClient(t, s, options())
	auth := keycard.ClientSecretBasic{ClientID: "app-1", ClientSecret: redacted.New(clientSecret)}

	_, err := z.ClientCredentials(context.Background(), keycard.ClientCredentialsRequest{ClientAuth: auth, Resource: "https://r", Scopes: []string{"a"}})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = z.Refresh(context.Background(), keycard.RefreshRequest{ClientAuth: auth, RefreshToken: redacted.New(refreshTokenSent), Resource: "https://r"})
	g.Expect(err).NotTo(HaveOccurred())
	sent := s.requests(tokenPath)
	g.Expect(sent[0].form(t)).To(Equal(url.Values{"grant_type": {"client_credentials"}, "resource": {"https://r"}, "scope": {"a"}}))
	g.Expect(sent[1].form(t)).To(Equal(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshTokenSent}, "resource": {"https://r"}}))
	for _, r := range sent {
		g.Expect(r.header.Get("Authorization")).To(Equal("Basic " + base64.StdEncoding.EncodeToString([]byte("app-1:"+clientSecret))))
	}
}

func TestRequestsAreCheckedBeforeTheyAreSent(t *testing.T) {
	s := newZone(t)
	z := zoneClient(t, s, options())
	change := func(f func(*keycard.ExchangeRequest)) func() error {
		return func() error {
			r := exchangeRequest()
			f(&r)
			_, err := z.Exchange(context.Background(), r)
			return err
		}
	}
	tests := map[string]struct {
		do   func() error
		want string
	}{
		"no client auth": {change(func(r *keycard.ExchangeRequest) { r.ClientAuth = nil }), "exchanging the token: the client authentication is missing"},
		"no client id": {change(func(r *keycard.ExchangeRequest) {
			r.ClientAuth = keycard.ClientSecretBasic{ClientSecret: redacted.New("x")}
		}), "exchanging the token: the client id is empty"},
		"no client secret": {change(func(r *keycard.ExchangeRequest) { r.ClientAuth = keycard.ClientSecretBasic{ClientID: "x"} }), "exchanging the token: the client secret is empty"},
		"no assertion":     {change(func(r *keycard.ExchangeRequest) { r.ClientAuth = keycard.JWTBearerAssertion{ClientID: "x"} }), "exchanging the token: the client assertion is empty"},
		"no public id":     {change(func(r *keycard.ExchangeRequest) { r.ClientAuth = keycard.PublicClient{} }), "exchanging the token: the client id is empty"},
		"no subject token": {change(func(r *keycard.ExchangeRequest) { r.SubjectToken = redacted.String{} }), "exchanging the token: the subject token is empty"},
		"no resource":      {change(func(r *keycard.ExchangeRequest) { r.Resource = "" }), "exchanging the token: the resource is empty"},
		"empty scope":      {change(func(r *keycard.ExchangeRequest) { r.Scopes = []string{"a", ""} }), "exchanging the token: scope 2 is empty or has characters that a scope cannot have"},
		"two in one scope": {change(func(r *keycard.ExchangeRequest) { r.Scopes = []string{"a b"} }), "exchanging the token: scope 1 is empty or has characters that a scope cannot have"},
		"quoted scope":     {change(func(r *keycard.ExchangeRequest) { r.Scopes = []string{`a"`} }), "exchanging the token: scope 1 is empty or has characters that a scope cannot have"},
		"no refresh token": {func() error {
			_, err := z.Refresh(context.Background(), keycard.RefreshRequest{ClientAuth: exchangeRequest().ClientAuth, Resource: "r"})
			return err
		}, "refreshing the token: the refresh token is empty"},
		"no resource for the application": {func() error {
			_, err := z.ClientCredentials(context.Background(), keycard.ClientCredentialsRequest{ClientAuth: exchangeRequest().ClientAuth})
			return err
		}, "getting the application's token: the resource is empty"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			err := tc.do()
			g.Expect(err).To(MatchError(tc.want))
			g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		})
	}
	if n := len(s.requests("")); n > 0 {
		t.Fatalf("%d requests were sent", n)
	}
}

func TestUnusableTokensAreMisconfigurations(t *testing.T) {
	tests := map[string]struct{ body, text string }{
		"control character": {`{"access_token":"abc\r\nX-Injected: 1"}`, "the zone issued a token with characters that an HTTP header cannot carry"},
		"DPoP":              {`{"access_token":"abc","token_type":"DPoP"}`, "the zone issued a token that is not of type Bearer"},
		"N_A":               {`{"access_token":"abc","token_type":"N_A"}`, "the zone issued a token that is not of type Bearer"},
		"too long":          {`{"access_token":"` + strings.Repeat("a", 64<<10+1) + `"}`, "the zone issued a token that is longer than 64 KiB"},
		"a refresh token":   {`{"access_token":"abc","issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token"}`, "the zone issued a token of type urn:ietf:params:oauth:token-type:refresh_token, which was not asked for"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, answer(200, tc.body))
			_, err := exchange(zoneClient(t, s, options()))
			g.Expect(err).To(MatchError("exchanging the token: " + tc.text))
			g.Expect(errors.Is(err, keycard.ErrTokenUnusable)).To(BeTrue())
			g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		})
	}
}

func TestImpersonationToken(t *testing.T) {
	const header = "eyJ0eXAiOiJ2bmQua2Muc3Urand0IiwiYWxnIjoibm9uZSJ9"
	tests := map[string]struct {
		identifier, payload, problem string
	}{
		"email":       {identifier: "alice@example.com", payload: `{"sub":"alice@example.com"}`},
		"opaque id":   {identifier: "zq3p4k7m9x2c5v8b1n6l0j3h5g", payload: `{"sub":"zq3p4k7m9x2c5v8b1n6l0j3h5g"}`},
		"markup":      {identifier: `a&b<c>`, payload: `{"sub":"a&b<c>"}`},
		"quotes":      {identifier: `a"b\c`, payload: `{"sub":"a\"b\\c"}`},
		"unicode":     {identifier: "ålice ☃", payload: `{"sub":"ålice ☃"}`},
		"longest":     {identifier: strings.Repeat("é", 2048), payload: `{"sub":"` + strings.Repeat("é", 2048) + `"}`},
		"empty":       {identifier: "", problem: "the user identifier is empty"},
		"too long":    {identifier: strings.Repeat("a", 2049), problem: "the user identifier is longer than 2048 characters"},
		"line end":    {identifier: "alice\n", problem: "the user identifier has a control character, such as a line end"},
		"NUL":         {identifier: "a\x00b", problem: "the user identifier has a control character, such as a line end"},
		"C1 control":  {identifier: "a\u0085b", problem: "the user identifier has a control character, such as a line end"},
		"broken text": {identifier: "a\xffb", problem: "the user identifier is not valid UTF-8"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			token, err := keycard.ImpersonationToken(tc.identifier)
			if tc.problem != "" {
				g.Expect(err).To(MatchError("naming the user to act for: " + tc.problem))
				g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
				g.Expect(token.IsZero()).To(BeTrue())
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(token.Reveal()).To(Equal(header + "." + base64.RawURLEncoding.EncodeToString([]byte(tc.payload)) + "."))
		})
	}
	t.Run("known bytes", func(t *testing.T) {
		g := NewWithT(t)
		token, err := keycard.ImpersonationToken("user-1")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(token.Reveal()).To(Equal("eyJ0eXAiOiJ2bmQua2Muc3Urand0IiwiYWxnIjoibm9uZSJ9.eyJzdWIiOiJ1c2VyLTEifQ."))
	})
}
