// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/store"
)

func TestPrivateKeyJWT(t *testing.T) {
	c, p := clock.New(), newPlatform(t)
	z := start(t, devzone.Config{Clock: c.Now})
	z.own(own, false, nil)
	z.credential(map[string]any{"type": "public-key", "identifier": "keyed", "jwks_uri": p.URL + "/jwks"})
	z.credential(map[string]any{"type": "public", "identifier": "pub"})
	now := c.Now().Unix()
	good := map[string]any{
		"iss": "keyed", "sub": "keyed", "aud": z.Issuer + "/oauth/2/token", "iat": now, "exp": now + 300,
	}
	fresh := func(changes ...any) map[string]any { return with(with(good, "jti", store.NewID()), changes...) }
	stranger := signingKey(t, jose.ES256, "k1")
	tests := map[string]struct {
		claims map[string]any
		key    jose.JSONWebKey
		more   []string
		want   string
	}{
		"good":                  {claims: fresh()},
		"the issuer":            {claims: fresh("aud", z.Issuer)},
		"with its client_id":    {claims: fresh(), more: []string{"client_id", "keyed"}},
		"an hour":               {claims: fresh("exp", now+3600)},
		"longest jti":           {claims: fresh("jti", strings.Repeat("j", 256))},
		"another client_id":     {claims: fresh(), more: []string{"client_id", "reports"}, want: "of another client than client_id"},
		"unknown client":        {claims: fresh("iss", "nobody", "sub", "nobody"), want: "names no client that authenticates with a key"},
		"client with a secret":  {claims: fresh("iss", "reports", "sub", "reports"), want: "names no client that authenticates with a key"},
		"public client":         {claims: fresh("iss", "pub", "sub", "pub"), want: "names no client that authenticates with a key"},
		"iss and sub differ":    {claims: fresh("sub", "reports"), want: `issuer "keyed", which no provider`},
		"more than an hour":     {claims: fresh("exp", now+3601), want: "exp must be at most 1h0m0s ahead"},
		"no exp":                {claims: fresh("exp", nil), want: "must have the claim exp"},
		"expired":               {claims: fresh("exp", now), want: "has expired"},
		"not yet valid":         {claims: fresh("nbf", now+61), want: "not valid yet"},
		"no jti":                {claims: fresh("jti", nil), want: "must have the claim jti"},
		"long jti":              {claims: fresh("jti", strings.Repeat("j", 257)), want: "jti of more than 256 bytes"},
		"wrong audience":        {claims: fresh("aud", z.Issuer+"/oauth/2/authorize"), want: "another audience"},
		"wrong key":             {claims: fresh(), key: stranger, want: "no key of its issuer made"},
		"key with another name": {claims: fresh(), key: signingKey(t, jose.ES256, "k9"), want: `kid "k9"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			key := p.key
			if tt.key.Key != nil {
				key = tt.key
			}
			assertion := signed(t, key, tt.claims)
			got := z.assert(assertion, tt.more...)
			if tt.want != "" {
				g.Expect(got.Status).To(Equal(401), got.Raw)
				g.Expect(got).To(refused("invalid_client", tt.want))
				return
			}
			g.Expect(got.Status).To(Equal(200), got.Raw)
			g.Expect(z.claims(text(got, "access_token"))).To(HaveKeyWithValue("client_id", "keyed"))
			g.Expect(z.assert(assertion)).To(refused("invalid_client", "was used before: every request needs one with a new jti"))
		})
	}
	t.Run("jti of two clients", func(t *testing.T) {
		g := NewWithT(t)
		z.credential(map[string]any{"type": "public-key", "identifier": "keyed2", "jwks_uri": p.URL + "/jwks"})
		g.Expect(z.assert(signed(t, p.key, with(good, "jti", "same"))).Status).To(Equal(200))
		g.Expect(z.assert(signed(t, p.key, with(good, "jti", "same", "iss", "keyed2", "sub", "keyed2"))).Status).To(Equal(200))
	})
	t.Run("jti after its time", func(t *testing.T) {
		g := NewWithT(t)
		c.Advance(time.Hour)
		later := c.Now().Unix()
		g.Expect(z.assert(signed(t, p.key, with(good, "jti", "same", "iat", later, "exp", later+1))).Status).To(Equal(200))
	})
}

func TestAssertionAlgorithms(t *testing.T) {
	g := NewWithT(t)
	c, p := clock.New(), newPlatform(t)
	z := start(t, devzone.Config{Clock: c.Now})
	z.own(own, false, nil)
	z.credential(map[string]any{"type": "public-key", "identifier": "keyed", "jwks_uri": p.URL + "/jwks"})
	rsa := signingKey(t, jose.RS256, "rsa")
	rsa.Algorithm = ""
	p.keys = []any{rsa.Public()}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA} {
		key := signingKey(t, alg, string(alg))
		p.keys = append(p.keys, key.Public())
		g.Expect(z.assertKeyed(key, c.Now()).Status).To(Equal(200), string(alg))
		c.Advance(10 * time.Second)
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512} {
		rsa.Algorithm = string(alg)
		got := z.assertKeyed(rsa, c.Now())
		g.Expect(got.Status).To(Equal(200), got.Raw)
	}
}

func (z *zone) assertKeyed(key jose.JSONWebKey, now time.Time) reply {
	z.t.Helper()
	return z.assert(signed(z.t, key, map[string]any{
		"iss": "keyed", "sub": "keyed", "aud": z.Issuer, "exp": now.Unix() + 60, "jti": store.NewID(),
	}))
}

// A client whose id is the URL of its metadata.
func TestMetadataDocument(t *testing.T) {
	c, p := clock.New(), newPlatform(t)
	var body string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	defer site.Close()
	id := site.URL + "/client.json"
	keys := func() string {
		raw, err := p.key.Public().MarshalJSON()
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		return `"jwks":{"keys":[` + string(raw) + `]}`
	}()
	tests := map[string]struct {
		body   string
		status int
		want   string
	}{
		"jwks":           {`{"client_id":"` + id + `",` + keys + `}`, 200, ""},
		"jwks_uri":       {`{"client_id":"` + id + `","jwks_uri":"` + p.URL + `/jwks"}`, 200, ""},
		"no keys":        {`{"client_id":"` + id + `"}`, 401, "key set of its issuer does not have"},
		"another client": {`{"client_id":"https://x",` + keys + `}`, 401, "client metadata document " + id + ": its client_id is another one"},
		"no json":        {`hello`, 401, "no JSON object of the expected form"},
		"bad jwks":       {`{"client_id":"` + id + `","jwks":[]}`, 401, "its jwks: it is no JSON Web Key Set"},
		"bad type":       {`{"client_id":"` + id + `","redirect_uris":"x"}`, 401, "no JSON object of the expected form"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			z := start(t, devzone.Config{Clock: c.Now})
			z.own(own, false, nil)
			z.credential(map[string]any{"type": "url", "identifier": id})
			body = tt.body
			got := z.assert(signed(t, p.key, map[string]any{
				"iss": id, "sub": id, "aud": z.Issuer, "exp": c.Now().Unix() + 60, "jti": "1",
			}))
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status != 200 {
				g.Expect(got).To(refused("invalid_client", tt.want))
			}
		})
	}
	t.Run("public", func(t *testing.T) {
		g := NewWithT(t)
		z := start(t, devzone.Config{Clock: c.Now})
		z.own(mine, true, nil)
		z.credential(map[string]any{"type": "url", "identifier": id})
		code := z.code(c.Now(), func(x *store.Code) { x.ClientID = id })
		body = `{"client_id":"` + id + `","token_endpoint_auth_method":"private_key_jwt"}`
		g.Expect(z.redeem(code, "client_id", id)).To(refused("invalid_client", "authentication is required"))
		body = `{"client_id":"` + id + `","token_endpoint_auth_method":"none"}`
		c.Advance(5 * time.Minute)
		code = z.code(c.Now(), func(x *store.Code) { x.ClientID = id })
		got := z.redeem(code, "client_id", id)
		g.Expect(got.Status).To(Equal(200), got.Raw)
	})
}

// Public clients have the grants of a person only.
func TestPublicClientGrants(t *testing.T) {
	z, _ := person(t)
	for _, grant := range []string{clientCredentials, tokenExchange} {
		t.Run(grant, func(t *testing.T) {
			form := impersonation("alice@example.com", mine)
			form.Set("client_id", "pub")
			form.Set("grant_type", grant)
			got := z.ask(form)
			NewWithT(t).Expect(got.Status).To(Equal(400))
			NewWithT(t).Expect(got).To(refused("unauthorized_client", "A client without a secret may use authorization_code and refresh_token only"))
		})
	}
}
