// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	. "github.com/onsi/gomega"
)

// forger is an OpenID provider that answers as it is told.
type forger struct {
	issuer string
	key    *rsa.PrivateKey
	// answer is that of the token endpoint, userinfo the claims of the other one.
	answer   func(w http.ResponseWriter)
	userinfo map[string]any
}

func (f *forger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": f.issuer, "authorization_endpoint": f.issuer + "/authorize", "token_endpoint": f.issuer + "/token",
			"jwks_uri": f.issuer + "/keys", "userinfo_endpoint": f.issuer + "/userinfo",
			"id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256"},
		})
	case "/keys":
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: f.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	case "/token":
		f.answer(w)
	case "/userinfo":
		_ = json.NewEncoder(w).Encode(f.userinfo)
	}
}

func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What a provider, or somebody in its place, may send instead of a good ID token
// signs nobody in.
func TestForgedIdentities(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := &forger{key: key}
	f := &federation{t: t}
	f.issuer = serve(t, forged.ServeHTTP)
	forged.issuer = f.issuer
	f.application = serve(t, func(http.ResponseWriter, *http.Request) {}) + "/callback"
	f.start(nil)
	good := func(nonce string) map[string]any {
		return map[string]any{
			"iss": f.issuer, "aud": "zone", "sub": "s-1", "nonce": nonce, "email": "mallory@example.com", "email_verified": true,
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		}
	}
	with := func(claims map[string]any, name string, value any) map[string]any {
		claims = maps.Clone(claims)
		claims[name] = value
		return claims
	}
	tests := map[string]struct {
		token func(claims map[string]any) string
		// back are parameters of the redirect back, besides code and state.
		back     url.Values
		userinfo map[string]any
		status   int
		fine     bool
	}{
		"good": {fine: true},
		"address from userinfo": {
			token:    func(c map[string]any) string { delete(c, "email"); return sign(t, jose.RS256, key, c) },
			userinfo: map[string]any{"sub": "s-1", "email": "mallory@example.com"},
			fine:     true,
		},
		"good issuer":    {back: url.Values{"iss": {f.issuer}}, fine: true},
		"another issuer": {back: url.Values{"iss": {"https://evil.example"}}},
		"error":          {back: url.Values{"error": {"access_denied"}}},
		"no token":       {token: func(map[string]any) string { return "" }},
		"no JWT":         {token: func(map[string]any) string { return "abc" }},
		"no signature": {token: func(c map[string]any) string {
			raw, _ := json.Marshal(c)
			part := base64.RawURLEncoding.EncodeToString
			return part([]byte(`{"alg":"none"}`)) + "." + part(raw) + "."
		}},
		"public key as secret": {token: func(c map[string]any) string { return sign(t, jose.HS256, key.N.Bytes(), c) }},
		"another key":          {token: func(c map[string]any) string { return sign(t, jose.RS256, other, c) }},
		"another audience":     {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "aud", "somebody")) }},
		"issuer in the token":  {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "iss", "https://evil.example")) }},
		"expired": {token: func(c map[string]any) string {
			return sign(t, jose.RS256, key, with(c, "exp", time.Now().Add(-time.Hour).Unix()))
		}},
		"another nonce":      {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "nonce", "other")) }},
		"no nonce":           {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "nonce", "")) }},
		"no subject":         {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "sub", "")) }},
		"control characters": {token: func(c map[string]any) string { return sign(t, jose.RS256, key, with(c, "email", "a\n@example.com")) }},
		"long address": {token: func(c map[string]any) string {
			return sign(t, jose.RS256, key, with(c, "email", strings.Repeat("a", 1025)))
		}},
		"userinfo of another": {
			token:    func(c map[string]any) string { delete(c, "email"); return sign(t, jose.RS256, key, c) },
			userinfo: map[string]any{"sub": "s-2", "email": "alice@example.com", "email_verified": true},
		},
		"token endpoint fails": {status: 500},
		"large answer":         {token: func(map[string]any) string { return strings.Repeat("a", 2<<20) }},
		"large userinfo": {
			token:    func(c map[string]any) string { delete(c, "email"); return sign(t, jose.RS256, key, c) },
			userinfo: map[string]any{"sub": "s-1", "email": "mallory@example.com", "pad": strings.Repeat("a", 2<<20)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			f.t = t
			v := f.visitor()
			leaving := v.authorize(nil).at
			g.Expect(leaving.Path).To(Equal("/authorize"))
			q := leaving.Query()
			g.Expect(q.Get("code_challenge_method")).To(Equal("S256"))
			g.Expect(q.Get("redirect_uri")).To(Equal(f.ZoneURL + "/oauth/2/redirect"))
			if tt.token == nil {
				tt.token = func(c map[string]any) string { return sign(t, jose.RS256, key, c) }
			}
			forged.userinfo = tt.userinfo
			forged.answer = func(w http.ResponseWriter) {
				if tt.status != 0 {
					w.WriteHeader(tt.status)
					return
				}
				_ = json.NewEncoder(w).Encode(map[string]any{
					"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": tt.token(good(q.Get("nonce"))),
				})
			}
			back := url.Values{"code": {"c"}, "state": {q.Get("state")}}
			maps.Copy(back, tt.back)
			got := v.got(v.Get(f.ZoneURL + "/oauth/2/redirect?" + back.Encode()))
			if tt.fine {
				v.expect(got, "", "")
				return
			}
			v.expect(got, "server_error", "The identity provider did not sign the person in.")
			v.expect(v.authorize(url.Values{"prompt": {"none"}}), "login_required", "")
		})
	}
}
