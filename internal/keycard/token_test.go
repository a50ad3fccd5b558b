// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
)

var observed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// jwt makes an unsigned JWT with a payload.
func jwt(payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(payload)) + ".c2ln"
}

func expiring(in time.Duration) string {
	return jwt(fmt.Sprintf(`{"sub":"a","exp":%d}`, observed.Add(in).Unix()))
}

// living is a JWT that says when it was issued, and until when it lives.
func living(from, to time.Duration) string {
	return jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, observed.Add(from).Unix(), observed.Add(to).Unix()))
}

func TestLifetime(t *testing.T) {
	given := Lifetime{Source: LifetimeFromExpiresIn, Announced: AnnouncementGiven}
	tests := map[string]struct {
		expiresIn string // "" leaves the member out
		token     string
		want      time.Duration
		from      Lifetime
	}{
		"plain":                        {`3600`, "opaque", time.Hour, given},
		"one second":                   {`1`, "opaque", time.Second, given},
		"missing":                      {``, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"null":                         {`null`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"zero":                         {`0`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotPositive, 0}},
		"negative":                     {`-5`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotPositive, 0}},
		"minus infinity":               {`-1e400`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotPositive, 0}},
		"text of digits":               {`"3600"`, "opaque", time.Hour, given},
		"text zero":                    {`"0"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotPositive, 0}},
		"text negative":                {`"-3600"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"text fraction":                {`"3600.5"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"text with a unit":             {`"1h"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"text empty":                   {`""`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"text hexadecimal":             {`"0x10"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"text infinite":                {`"Inf"`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"fraction":                     {`3599.98`, "opaque", 3599 * time.Second, given},
		"less than a second":           {`0.9`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotPositive, 0}},
		"exponent":                     {`3.6e3`, "opaque", time.Hour, given},
		"bool":                         {`true`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"list":                         {`[3600]`, "opaque", 0, Lifetime{LifetimeAssumed, AnnouncementNotANumber, 0}},
		"a day":                        {`86400`, "opaque", 24 * time.Hour, given},
		"over a day":                   {`86401`, "opaque", 24 * time.Hour, Lifetime{LifetimeCapped, AnnouncementGiven, 0}},
		"a year":                       {`31536000`, "opaque", 24 * time.Hour, Lifetime{LifetimeCapped, AnnouncementGiven, 0}},
		"overflow":                     {`1e400`, "opaque", 24 * time.Hour, Lifetime{LifetimeCapped, AnnouncementGiven, 0}},
		"long text of digits":          {`"` + strings.Repeat("9", 400) + `"`, "opaque", 24 * time.Hour, Lifetime{LifetimeCapped, AnnouncementGiven, 0}},
		"missing, JWT":                 {``, expiring(time.Hour), time.Hour, Lifetime{LifetimeFromClaim, AnnouncementMissing, 0}},
		"zero, JWT":                    {`0`, expiring(time.Hour), time.Hour, Lifetime{LifetimeFromClaim, AnnouncementNotPositive, 0}},
		"text, JWT":                    {`"soon"`, expiring(time.Hour), time.Hour, Lifetime{LifetimeFromClaim, AnnouncementNotANumber, 0}},
		"missing, JWT for a year":      {``, expiring(365 * 24 * time.Hour), 24 * time.Hour, Lifetime{LifetimeCapped, AnnouncementMissing, 0}},
		"missing, expired JWT":         {``, expiring(-time.Second), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, -time.Second}},
		"missing, JWT without exp":     {``, jwt(`{"sub":"a"}`), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"missing, JWT with text exp":   {``, jwt(`{"exp":"soon"}`), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"missing, JWT with absurd exp": {``, jwt(`{"exp":1e300}`), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"missing, JWT with exp 0":      {``, jwt(`{"exp":0}`), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"missing, JWT with broken JSON": {
			``, jwt(`{"exp":`), 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0},
		},
		"missing, three dots":         {``, "a.!.c", 0, Lifetime{LifetimeAssumed, AnnouncementMissing, 0}},
		"agrees with the JWT":         {`3600`, expiring(time.Hour), time.Hour, given},
		"JWT a little earlier":        {`3600`, expiring(time.Hour - time.Minute), time.Hour, given},
		"JWT much earlier":            {`3600`, expiring(10 * time.Minute), 10 * time.Minute, Lifetime{LifetimeFromClaim, AnnouncementGiven, -50 * time.Minute}},
		"JWT later":                   {`600`, expiring(time.Hour), 10 * time.Minute, Lifetime{LifetimeFromExpiresIn, AnnouncementGiven, 50 * time.Minute}},
		"JWT expired, by a bad clock": {`600`, expiring(-time.Hour), 10 * time.Minute, Lifetime{LifetimeFromExpiresIn, AnnouncementGiven, -70 * time.Minute}},
		"issuer behind":               {`3600`, living(-10*time.Minute, 50*time.Minute), 50 * time.Minute, Lifetime{LifetimeFromClaim, AnnouncementGiven, -10 * time.Minute}},
		"issuer ahead":                {`3600`, living(10*time.Minute, 70*time.Minute), time.Hour, Lifetime{LifetimeFromExpiresIn, AnnouncementGiven, 10 * time.Minute}},
		"issuer behind, short life":   {`300`, living(-10*time.Minute, -5*time.Minute), 5 * time.Minute, Lifetime{LifetimeFromExpiresIn, AnnouncementGiven, -10 * time.Minute}},
		"issuer a little ahead":       {`3600`, living(time.Minute, 61*time.Minute), time.Hour, given},
		"cached, clocks agree":        {`1200`, living(-40*time.Minute, 20*time.Minute), 20 * time.Minute, given},
		"cached, issuer behind":       {`1200`, living(-50*time.Minute, 10*time.Minute), 10 * time.Minute, Lifetime{LifetimeFromClaim, AnnouncementGiven, -10 * time.Minute}},
		"missing, issuer ahead":       {``, living(10*time.Minute, 70*time.Minute), time.Hour, Lifetime{LifetimeFromClaim, AnnouncementMissing, 0}},
		"missing, issuer behind":      {``, living(-10*time.Minute, 50*time.Minute), 50 * time.Minute, Lifetime{LifetimeFromClaim, AnnouncementMissing, 0}},
		"iat is text":                 {``, jwt(fmt.Sprintf(`{"iat":"soon","exp":%d}`, observed.Add(50*time.Minute).Unix())), 50 * time.Minute, Lifetime{LifetimeFromClaim, AnnouncementMissing, 0}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			body := `{"access_token":"` + tc.token + `"`
			if tc.expiresIn != "" {
				body += `,"expires_in":` + tc.expiresIn
			}
			token, err := parseToken([]byte(body+`}`), nil, observed)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(token.ExpiresIn).To(Equal(tc.want))
			g.Expect(token.Lifetime).To(Equal(tc.from))
			g.Expect(token.Lifetime.Odd()).To(Equal(tc.from != given))
		})
	}
}

func TestParseToken(t *testing.T) {
	tests := map[string]struct {
		body      string
		requested []string
		scopes    []string
		err       error
		text      string
	}{
		"scopes as granted":       {body: `{"access_token":"t","scope":" a  b "}`, requested: []string{"c"}, scopes: []string{"a", "b"}},
		"scopes as requested":     {body: `{"access_token":"t"}`, requested: []string{"c"}, scopes: []string{"c"}},
		"empty scope":             {body: `{"access_token":"t","scope":""}`, requested: []string{"c"}, scopes: []string{"c"}},
		"null scope":              {body: `{"access_token":"t","scope":null}`, requested: []string{"c"}, scopes: []string{"c"}},
		"what is no scope":        {body: `{"access_token":"t","scope":"a b\u0007c d\"e ü"}`, scopes: []string{"a"}},
		"no type":                 {body: `{"access_token":"t"}`},
		"type in any case":        {body: `{"access_token":"t","token_type":"bEaReR"}`},
		"all visible characters":  {body: `{"access_token":"!#$%&'()*+,-./:;<=>?@[]^_{|}~09azAZ"}`},
		"longest":                 {body: `{"access_token":"` + strings.Repeat("a", 64<<10) + `"}`},
		"no token":                {body: `{}`, err: errNoToken},
		"empty token":             {body: `{"access_token":""}`, err: errNoToken},
		"null token":              {body: `{"access_token":null}`, err: errNoToken},
		"null":                    {body: `null`, err: errNoToken},
		"token of another type":   {body: `{"access_token":{"v":"t"}}`, text: "not a JSON string"},
		"not JSON":                {body: `<html>`, text: "invalid character"},
		"trailing text":           {body: `{"access_token":"t"} x`, text: "invalid character"},
		"space":                   {body: `{"access_token":"a b"}`, err: ErrTokenUnusable},
		"tab":                     {body: `{"access_token":"a\tb"}`, err: ErrTokenUnusable},
		"line end":                {body: `{"access_token":"ab\n"}`, err: ErrTokenUnusable},
		"header injection":        {body: `{"access_token":"a\r\nSet-Cookie: x"}`, err: ErrTokenUnusable},
		"NUL":                     {body: `{"access_token":"a\u0000"}`, err: ErrTokenUnusable},
		"DEL":                     {body: `{"access_token":"a\u007f"}`, err: ErrTokenUnusable},
		"not ASCII":               {body: `{"access_token":"é"}`, err: ErrTokenUnusable},
		"too long":                {body: `{"access_token":"` + strings.Repeat("a", 64<<10+1) + `"}`, err: ErrTokenUnusable},
		"another type of token":   {body: `{"access_token":"t","token_type":"MAC"}`, err: ErrTokenUnusable},
		"type with a bearer name": {body: `{"access_token":"t","token_type":"Bearer "}`, err: ErrTokenUnusable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			token, err := parseToken([]byte(tc.body), tc.requested, observed)
			switch {
			case tc.err != nil:
				g.Expect(errors.Is(err, tc.err)).To(BeTrue(), "%v", err)
				g.Expect(token.AccessToken.IsZero()).To(BeTrue(), "a refused token must not be handed out")
			case tc.text != "":
				g.Expect(err).To(MatchError(ContainSubstring(tc.text)))
			default:
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(token.Scopes).To(Equal(tc.scopes))
				g.Expect(token.TokenType).To(Equal("Bearer"))
			}
		})
	}
}

func TestScopesAreACopy(t *testing.T) {
	requested := []string{"a", "b"}
	token, err := parseToken([]byte(`{"access_token":"t"}`), requested, observed)
	if err != nil {
		t.Fatal(err)
	}
	token.Scopes[0] = "changed"
	if requested[0] != "a" {
		t.Fatal("the request's scopes were changed")
	}
}

func TestIssuedTokenType(t *testing.T) {
	const other = "urn:example:other"
	tests := []struct {
		issued, requested string
		want              bool
	}{
		{"", "", true},
		{"", TokenTypeJWT, true},
		{TokenTypeAccessToken, "", true},
		{TokenTypeJWT, "", true},
		{other, "", true},
		{TokenTypeRefreshToken, "", false},
		{TokenTypeIDToken, "", false},
		{TokenTypeAccessToken, TokenTypeAccessToken, true},
		{TokenTypeJWT, TokenTypeAccessToken, true},
		{other, TokenTypeAccessToken, false},
		{TokenTypeAccessToken, TokenTypeRefreshToken, false},
		{TokenTypeRefreshToken, TokenTypeRefreshToken, true},
		{other, other, true},
	}
	for _, tc := range tests {
		t.Run(tc.issued+" for "+tc.requested, func(t *testing.T) {
			if got := typeAcceptable(tc.issued, tc.requested); got != tc.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}

// checkToken states what holds of every token that parseToken lets through.
func checkToken(t interface{ Fatalf(string, ...any) }, token Token) {
	raw := token.AccessToken.Reveal()
	if raw == "" || len(raw) > 64<<10 || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Fatalf("an access token that does not fit into a header")
	}
	if token.TokenType != "Bearer" {
		t.Fatalf("token type %q", token.TokenType)
	}
	if token.ExpiresIn < 0 || token.ExpiresIn > 24*time.Hour || (token.Lifetime.Source == LifetimeAssumed) != (token.ExpiresIn == 0) {
		t.Fatalf("lifetime %v from %+v", token.ExpiresIn, token.Lifetime)
	}
	if token.ExpiresIn == 0 && !token.Lifetime.Odd() {
		t.Fatalf("an unknown lifetime that is not odd")
	}
	if slices.ContainsFunc(token.Scopes, func(s string) bool { return !isScope(s) }) {
		t.Fatalf("scopes %q", token.Scopes)
	}
}

func FuzzParseToken(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"t","token_type":"Bearer","expires_in":3600,"scope":"a b","issued_token_type":"urn:x"}`,
		`{"access_token":"` + jwt(`{"exp":1772370000}`) + `","expires_in":"3600"}`,
		`{"access_token":"a\r\nb","expires_in":-1e999}`, `{"access_token":"t","expires_in":1e999}`,
		`{"access_token":"t","expires_in":[]}`, `[]`, `null`, `{"access_token":7}`, ``, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, err := parseToken(body, []string{"asked"}, observed)
		if err != nil {
			if !token.AccessToken.IsZero() {
				t.Fatal("an error and a token")
			}
			return
		}
		checkToken(t, token)
	})
}

func TestEveryWellFormedTokenIsTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.StringMatching(`[!-~]{1,200}`).Draw(t, "token")
		seconds := rapid.Int64Range(1, 86400).Draw(t, "seconds")
		asText := rapid.Bool().Draw(t, "asText")
		body := map[string]any{"access_token": raw, "expires_in": seconds}
		if asText {
			body["expires_in"] = fmt.Sprint(seconds)
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		token, err := parseToken(encoded, nil, observed)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		checkToken(t, token)
		if token.AccessToken.Reveal() != raw {
			t.Fatalf("the token changed on the way")
		}
		if _, isJWT := readClaims(token.AccessToken); !isJWT && token.ExpiresIn != time.Duration(seconds)*time.Second {
			t.Fatalf("lifetime %v of %d s", token.ExpiresIn, seconds)
		}
	})
}
