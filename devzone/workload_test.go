// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"crypto/x509"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"

	"github.com/keycardai/keycard-operator/devzone/clock"
)

const (
	own       = "https://own.example.com"
	workload  = "system:serviceaccount:reports:reports"
	trustable = "trusted-by-nobody"
)

// assert asks for a token with an assertion.
func (z *zone) assert(assertion string, more ...string) reply {
	z.t.Helper()
	return z.ask(url.Values{
		"grant_type": {clientCredentials}, "resource": {own},
		"client_assertion_type": {jwtBearer}, "client_assertion": {assertion},
	}, more...)
}

// cluster is a zone that trusts the workload of a platform.
func cluster(t *testing.T) (z *zone, c *clock.Clock, p *platform, claims map[string]any) {
	t.Helper()
	c, p = clock.New(), newPlatform(t)
	z = start(t, devzone.Config{Clock: c.Now})
	z.own(own, false, nil)
	provider := z.must("POST", "/providers", map[string]any{"identifier": p.URL, "name": "Cluster"})
	z.credential(map[string]any{"type": "token", "provider_id": provider["id"], "subject": workload})
	now := c.Now().Unix()
	return z, c, p, map[string]any{
		"iss": p.URL, "sub": workload, "aud": []string{z.Issuer}, "exp": now + 3600, "iat": now, "nbf": now,
	}
}

func TestWorkloadIdentity(t *testing.T) {
	z, c, p, good := cluster(t)
	now := c.Now().Unix()
	stranger := signingKey(t, jose.ES256, "k1")
	unnamed := p.key
	unnamed.KeyID = ""
	hmac := jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: "k1", Algorithm: "HS256"}
	unsigned := func() string {
		parts := strings.Split(signed(t, p.key, good), ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`)) + "." + parts[1] + "."
	}
	tests := map[string]struct {
		assertion   string
		more        []string
		status      int
		error, want string
	}{
		"good":                         {assertion: signed(t, p.key, good)},
		"audience slash":               {assertion: signed(t, p.key, with(good, "aud", z.Issuer+"/"))},
		"audience endpoint":            {assertion: signed(t, p.key, with(good, "aud", []string{"x", z.Issuer + "/oauth/2/token"}))},
		"no kid":                       {assertion: signed(t, unnamed, good)},
		"long life":                    {assertion: signed(t, p.key, with(good, "exp", now+365*24*3600))},
		"clock ahead":                  {assertion: signed(t, p.key, with(good, "nbf", now+60, "iat", now+60))},
		"unrelated client_id":          {assertion: signed(t, p.key, good), more: []string{"client_id", "whatever"}},
		"no type":                      {assertion: signed(t, p.key, good), more: []string{"client_assertion_type", ""}, status: 400, error: "invalid_request", want: "client_assertion_type is required"},
		"other type":                   {assertion: signed(t, p.key, good), more: []string{"client_assertion_type", "urn:x"}, error: "invalid_client", want: "client_assertion_type must be"},
		"type only":                    {assertion: "", status: 400, error: "invalid_request", want: "client_assertion is required"},
		"with secret":                  {assertion: signed(t, p.key, good), more: []string{"client_secret", "x"}, status: 400, error: "invalid_request", want: "one way only"},
		"no jwt":                       {assertion: "opaque", error: "invalid_client", want: "malformed"},
		"encrypted":                    {assertion: "a.b.c.d.e", error: "invalid_client", want: "malformed"},
		"too large":                    {assertion: strings.Repeat("a", 16<<10+1), error: "invalid_client", want: "larger than 16384 bytes"},
		"alg none":                     {assertion: unsigned(), error: "invalid_client", want: "algorithm that is not accepted: use one of RS256"},
		"hmac":                         {assertion: signed(t, hmac, good), error: "invalid_client", want: "algorithm that is not accepted"},
		"claims no object":             {assertion: signed(t, p.key, with(good, "exp", "soon")), error: "invalid_client", want: "claims are not those of a JWT"},
		"no issuer":                    {assertion: signed(t, p.key, with(good, "iss", nil)), error: "invalid_client", want: "iss and sub"},
		"no subject":                   {assertion: signed(t, p.key, with(good, "sub", nil)), error: "invalid_client", want: "iss and sub"},
		"wrong issuer":                 {assertion: signed(t, p.key, with(good, "iss", "https://x")), error: "invalid_client", want: `issuer "https://x", which no provider of the zone has`},
		"issuer with a slash":          {assertion: signed(t, p.key, with(good, "iss", p.URL+"/")), error: "invalid_client", want: "no provider of the zone has"},
		"the zone as issuer":           {assertion: signed(t, p.key, with(good, "iss", z.Issuer)), error: "invalid_client", want: "no provider of the zone has"},
		"wrong key":                    {assertion: signed(t, stranger, good), error: "invalid_client", want: "a signature that no key of its issuer made"},
		"expired":                      {assertion: signed(t, p.key, with(good, "exp", now)), error: "invalid_client", want: "has expired"},
		"no exp":                       {assertion: signed(t, p.key, with(good, "exp", nil)), error: "invalid_client", want: "must have the claim exp"},
		"not yet valid":                {assertion: signed(t, p.key, with(good, "nbf", now+61)), error: "invalid_client", want: "nbf is in the future"},
		"issued in the future":         {assertion: signed(t, p.key, with(good, "iat", now+61)), error: "invalid_client", want: "iat is in the future"},
		"wrong audience":               {assertion: signed(t, p.key, with(good, "aud", "https://kubernetes.default.svc")), error: "invalid_client", want: "another audience: its aud must be " + z.Issuer},
		"no audience":                  {assertion: signed(t, p.key, with(good, "aud", nil)), error: "invalid_client", want: "another audience"},
		"wrong subject":                {assertion: signed(t, p.key, with(good, "sub", workload+"x")), error: "invalid_client", want: `subject "` + workload + `x", which no application credential of the provider`},
		"wrong subject, trusted by id": {assertion: signed(t, p.key, with(good, "sub", "x")), more: []string{"client_id", trustable}, error: "invalid_client", want: "no application credential"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := z.assert(tt.assertion, tt.more...)
			if tt.error == "" {
				g.Expect(got.Status).To(Equal(200), got.Raw)
				return
			}
			if tt.status == 0 {
				tt.status = 401
			}
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			g.Expect(got).To(refused(tt.error, tt.want))
			if len(tt.assertion) > 10 {
				g.Expect(got.Raw).NotTo(ContainSubstring(tt.assertion))
			}
		})
	}
}

func TestWorkloadCredentials(t *testing.T) {
	g := NewWithT(t)
	z, _, p, good := cluster(t)
	provider := z.must("GET", "/providers?identifier="+url.QueryEscape(p.URL), nil)["items"].([]any)[0].(map[string]any)
	exact := z.must("GET", "/application-credentials", nil)["items"].([]any)[1].(map[string]any)
	caller := func(claims map[string]any, more ...string) (app, client string) {
		got := z.assert(signed(t, p.key, claims), more...)
		g.Expect(got.Status).To(Equal(200), got.Raw)
		c := z.claims(text(got, "access_token"))
		return c["sub"].(string), c["client_id"].(string)
	}
	app, client := caller(good)
	g.Expect(app).To(Equal("reports"))
	g.Expect(client).To(Equal(exact["id"]), "a workload has no client_id of its own")

	newApp := func(name string, subject any) (id string) {
		a := z.must("POST", "/applications", map[string]any{"identifier": name, "name": name})["id"]
		resource := z.must("GET", "/resources?identifier="+url.QueryEscape(own), nil)["items"].([]any)[0].(map[string]any)["id"].(string)
		z.must("PUT", "/applications/"+a.(string)+"/dependencies/"+resource, nil)
		return z.must("POST", "/application-credentials", map[string]any{
			"application_id": a, "type": "token", "provider_id": provider["id"], "subject": subject,
		})["id"].(string)
	}
	wild := newApp("any", nil)
	app, client = caller(with(good, "sub", "somebody else"))
	g.Expect([]string{app, client}).To(Equal([]string{"any", wild}))
	app, _ = caller(good)
	g.Expect(app).To(Equal("reports"), "the exact subject comes first")
	app, _ = caller(good, "client_id", wild)
	g.Expect(app).To(Equal("any"), "unless the other credential is named")
	app, _ = caller(good, "client_id", "any")
	g.Expect(app).To(Equal("any"), "or its application")

	twin := newApp("twin", workload)
	g.Expect(z.assert(signed(t, p.key, good))).To(refused("invalid_client", "accepted by 2 application credentials: name one with client_id"))
	app, _ = caller(good, "client_id", twin)
	g.Expect(app).To(Equal("twin"))

	z.must("PATCH", "/application-credentials/"+twin, map[string]any{"subject": "moved"})
	app, _ = caller(with(good, "sub", "moved"))
	g.Expect(app).To(Equal("twin"))
	z.must("DELETE", "/application-credentials/"+wild, nil)
	g.Expect(z.assert(signed(t, p.key, with(good, "sub", "somebody else")))).To(refused("invalid_client", "no application credential"))

	// Impersonation works the same way.
	form := impersonation("alice@example.com", own)
	form.Set("client_assertion_type", jwtBearer)
	form.Set("client_assertion", signed(t, p.key, good))
	got := z.ask(form)
	g.Expect(got.Status).To(Equal(200), got.Raw)
}

func TestKeysOfAPlatform(t *testing.T) {
	t.Run("rotation", func(t *testing.T) {
		g := NewWithT(t)
		z, c, p, good := cluster(t)
		g.Expect(z.assert(signed(t, p.key, good)).Status).To(Equal(200))
		g.Expect(z.assert(signed(t, p.key, good)).Status).To(Equal(200))
		g.Expect(p.fetches.Load()).To(Equal(int64(1)), "the key set is kept")
		next := signingKey(t, jose.RS256, "k2")
		g.Expect(z.assert(signed(t, next, good))).To(refused("invalid_client", `kid "k2", which the key set of its issuer does not have`))
		g.Expect(p.fetches.Load()).To(Equal(int64(1)), "it was fetched a moment ago")
		p.answer(func() { p.keys = append(p.keys, next.Public()) })
		c.Advance(10 * time.Second)
		g.Expect(z.assert(signed(t, next, good)).Status).To(Equal(200))
		g.Expect(p.fetches.Load()).To(Equal(int64(2)))
		p.answer(func() { p.keys = p.keys[1:] })
		g.Expect(z.assert(signed(t, p.key, good)).Status).To(Equal(200), "still kept")
		c.Advance(5 * time.Minute)
		g.Expect(z.assert(signed(t, p.key, good))).To(refused("invalid_client", "does not have"))
	})
	t.Run("many at once share a request", func(t *testing.T) {
		g := NewWithT(t)
		z, _, p, good := cluster(t)
		token := signed(t, p.key, good)
		p.mu.Lock()
		var wg sync.WaitGroup
		answers := make(chan reply, 8)
		for range cap(answers) {
			wg.Go(func() { answers <- z.assert(token) })
		}
		p.mu.Unlock()
		wg.Wait()
		close(answers)
		for got := range answers {
			g.Expect(got.Status).To(Equal(200), got.Raw)
		}
		g.Expect(p.fetches.Load()).To(Equal(int64(1)))
	})
	t.Run("jwks_uri of the provider", func(t *testing.T) {
		g := NewWithT(t)
		z, _, p, good := cluster(t)
		p.answer(func() { p.configuration = nil })
		const path = "/providers"
		id := z.must("GET", path+"?identifier="+url.QueryEscape(p.URL), nil)["items"].([]any)[0].(map[string]any)["id"].(string)
		g.Expect(z.assert(signed(t, p.key, good))).To(refused("invalid_client", "fetching the OpenID configuration"))
		z.must("PATCH", path+"/"+id, map[string]any{"protocols": map[string]any{"oauth2": map[string]any{"jwks_uri": p.URL + "/jwks"}}})
		g.Expect(z.assert(signed(t, p.key, good)).Status).To(Equal(200))
	})
	t.Run("issuer apart from the identifier", func(t *testing.T) {
		g := NewWithT(t)
		z, _, p, good := cluster(t)
		id := z.must("GET", "/providers?identifier="+url.QueryEscape(p.URL), nil)["items"].([]any)[0].(map[string]any)["id"].(string)
		z.must("PATCH", "/providers/"+id, map[string]any{
			"identifier": "urn:cluster", "protocols": map[string]any{"oauth2": map[string]any{"issuer": p.URL}},
		})
		g.Expect(z.assert(signed(t, p.key, good)).Status).To(Equal(200), "protocols.oauth2.issuer names it")
	})
}

func TestUnavailableKeys(t *testing.T) {
	many := make([]any, 51)
	for i := range many {
		many[i] = map[string]string{"kty": "EC", "kid": strconv.Itoa(i)}
	}
	elsewhere := newPlatform(t)
	tests := map[string]struct {
		change func(p *platform)
		status int
		error  string
		want   string
	}{
		"down":             {func(p *platform) { p.status = 503 }, 503, "temporarily_unavailable", "/jwks: HTTP 503"},
		"throttled":        {func(p *platform) { p.status = 429 }, 503, "temporarily_unavailable", "/jwks: HTTP 429"},
		"not there":        {func(p *platform) { p.status = 404 }, 401, "invalid_client", "fetching the key set"},
		"forbidden":        {func(p *platform) { p.status, p.body = 403, "secret" }, 401, "invalid_client", "/jwks: HTTP 403"},
		"no json":          {func(p *platform) { p.status, p.body = 200, "<html>" }, 401, "invalid_client", "it is no JSON Web Key Set"},
		"no keys":          {func(p *platform) { p.status, p.body = 200, "{}" }, 401, "invalid_client", "it is no JSON Web Key Set"},
		"too large":        {func(p *platform) { p.status, p.body = 200, strings.Repeat(" ", 256<<10+1) }, 401, "invalid_client", "larger than 262144 bytes"},
		"too many":         {func(p *platform) { p.keys = many }, 401, "invalid_client", "more than 50 keys"},
		"foreign redirect": {func(p *platform) { p.status, p.location = 302, elsewhere.URL+"/jwks" }, 401, "invalid_client", "another origin"},
		"own redirect":     {func(p *platform) { p.status, p.location = 302, "/moved" }, 200, "", ""},
		"other issuer":     {func(p *platform) { p.configuration["issuer"] = "https://x.example.com" }, 401, "invalid_client", "its issuer is another one"},
		"no jwks_uri":      {func(p *platform) { delete(p.configuration, "jwks_uri") }, 401, "invalid_client", "jwks_uri is no absolute"},
		"unreachable":      {func(p *platform) { p.configuration["jwks_uri"] = "http://127.0.0.1:1/jwks" }, 503, "temporarily_unavailable", "fetching the key set http://127.0.0.1:1/jwks: dial"},
		"odd keys": {func(p *platform) {
			p.keys = append([]any{
				map[string]string{"kty": "oct", "k": "AAAA", "kid": "k1"}, map[string]string{"kty": "XYZ"}, "text", nil,
			}, p.keys...)
		}, 200, "", ""},
		"key for encryption": {func(p *platform) { k := p.key.Public(); k.Use = "enc"; p.keys = []any{k} }, 401, "invalid_client", "does not have"},
		"private key":        {func(p *platform) { p.keys = []any{p.key} }, 401, "invalid_client", "does not have"},
		"key of another alg": {func(p *platform) { k := p.key.Public(); k.Algorithm = "ES384"; p.keys = []any{k} }, 401, "invalid_client", "no key of its issuer made"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			z, _, p, good := cluster(t)
			p.answer(func() { tt.change(p) })
			got := z.assert(signed(t, p.key, good))
			g.Expect(got.Status).To(Equal(tt.status), got.Raw)
			if tt.status == 200 {
				return
			}
			g.Expect(got).To(refused(tt.error, tt.want))
			g.Expect(text(got, "error_description")).To(Or(HavePrefix("The client could not be authenticated: fetching the "), HavePrefix("client_assertion has ")))
			g.Expect(got.Raw).NotTo(Or(ContainSubstring("secret"), ContainSubstring("html")))
		})
	}
}

// A cluster's own CA is trusted only when the zone was told to.
func TestPrivateCA(t *testing.T) {
	p := newPlatform(t)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	p.configuration = map[string]any{"issuer": secure.URL, "jwks_uri": secure.URL + "/jwks"}
	cas := x509.NewCertPool()
	cas.AddCert(secure.Certificate())
	for name, pool := range map[string]*x509.CertPool{"trusted": cas, "unknown": nil} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			z := start(t, devzone.Config{UpstreamCAs: pool})
			z.own(own, false, nil)
			provider := z.must("POST", "/providers", map[string]any{"identifier": secure.URL, "name": "Cluster"})
			z.credential(map[string]any{"type": "token", "provider_id": provider["id"]})
			got := z.assert(signed(t, p.key, map[string]any{
				"iss": secure.URL, "sub": workload, "aud": z.Issuer, "exp": time.Now().Add(time.Hour).Unix(),
			}))
			if pool != nil {
				g.Expect(got.Status).To(Equal(200), got.Raw)
				return
			}
			g.Expect(got.Status).To(Equal(401))
			g.Expect(got).To(refused("invalid_client", "its certificate is not trusted"))
		})
	}
}
