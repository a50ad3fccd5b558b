// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/oauth"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// offline fails every request, as a provider that is down does.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("offline") }

const zoneIssuer = "http://zone.test"

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// handler is the surface of a zone with a public client, one with a key, a
// workload, and a code to redeem.
func handler(t testing.TB) http.Handler {
	t.Helper()
	clock := func() time.Time { return at }
	objects := store.New(clock)
	issuers, err := issuer.NewMap("zn-demo", zoneIssuer)
	if err != nil {
		t.Fatal(err)
	}
	s := seed.Default()
	s.Providers = []seed.Provider{{Identifier: "https://auth.atlassian.com", Name: "Atlassian"}}
	s.Resources = []seed.Resource{
		{Identifier: "urn:own", Name: "Own", Application: "reports", Scopes: []string{"read"}, Prefix: true},
		{Identifier: "https://api.atlassian.com/ex/confluence", Name: "Confluence", Provider: "https://auth.atlassian.com"},
	}
	s.Applications[0].Dependencies = []string{"urn:own", "https://api.atlassian.com/ex/confluence"}
	if err := s.Apply(objects, issuers.Of); err != nil {
		t.Fatal(err)
	}
	if err := objects.Do(populate); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: offline{}}
	return oauth.New(oauth.Config{
		Store: objects, Issuers: issuers, Clock: clock, Client: client, Policies: &policy.Engine{},
		Broker: broker.New(broker.Config{
			Store: objects, Issuers: issuers, Clock: clock, Client: client, Mode: broker.Refresh,
		}),
		Recorder: discard{}, TokenLifetime: time.Hour,
	})
}

func populate(tx *store.Tx) error {
	meta := store.Meta{ZoneID: "zn-demo"}
	app, _ := tx.Applications.Find("zn-demo", "reports")
	user, _ := tx.Users.Find("zn-demo", "alice@example.com")
	provider, _ := tx.Providers.Find("zn-demo", "https://auth.atlassian.com")
	for _, c := range []store.Credential{
		{Type: store.CredentialPublic, Identifier: "pub"},
		{Type: store.CredentialPublicKey, Identifier: "keyed", JWKSURI: "https://keys.test/jwks"},
		{Type: store.CredentialURL, Identifier: "https://client.test/"},
		{Type: store.CredentialToken, ProviderID: provider.ID},
	} {
		c.Meta, c.ApplicationID = meta, app.ID
		if _, err := tx.Credentials.Insert(c); err != nil {
			return err
		}
	}
	session, err := tx.Sessions.Insert(store.Session{
		Meta: meta, Type: store.SessionUser, UserID: user.ID, Status: store.SessionActive, AuthenticatedAt: at, ExpiresAt: at.Add(time.Hour),
	})
	if err != nil {
		return err
	}
	_, err = tx.Codes.Insert(store.Code{
		Meta: meta, Value: store.DigestOf("code"), ClientID: "pub", ApplicationID: app.ID, UserID: user.ID, SessionID: session.ID,
		Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Scopes: []string{"openid"}, Resources: []string{"urn:own"},
		ExpiresAt: at.Add(time.Minute),
	})
	return err
}

// forms are requests that come far.
func forms() []string {
	const (
		verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
		exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
		alice    = "eyJ0eXAiOiJ2bmQua2Muc3Urand0IiwiYWxnIjoibm9uZSJ9.eyJzdWIiOiJhbGljZUBleGFtcGxlLmNvbSJ9."
		bearer   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
		// {"alg":"ES256"} with the issuers that there are.
		keyed    = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJrZXllZCIsInN1YiI6ImtleWVkIn0.AAAA"
		workload = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2F1dGguYXRsYXNzaWFuLmNvbSIsInN1YiI6ImEifQ.AAAA"
	)
	basic := url.Values{"client_id": {"reports"}, "client_secret": {"dev-only-reports-password"}}
	var out []string
	for _, form := range []url.Values{
		{},
		{"grant_type": {"client_credentials"}, "resource": {"urn:own"}, "scope": {"read"}},
		{"grant_type": {"client_credentials"}, "resource": {"urn:own/deep?x#y"}},
		{"grant_type": {exchange}, "subject_token": {alice}, "subject_token_type": {"urn:keycard:params:oauth:token-type:substitute-user"}, "resource": {"urn:own"}},
		{"grant_type": {exchange}, "subject_token": {"a.b.c"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {"urn:own"}, "actor_token": {"x"}},
		{"grant_type": {"authorization_code"}, "code": {"code"}, "code_verifier": {verifier}, "client_id": {"pub"}, "client_secret": {""}},
		{"grant_type": {"refresh_token"}, "refresh_token": {"id.secret"}, "client_id": {"pub"}, "client_secret": {""}},
		{"grant_type": {"client_credentials"}, "client_id": {""}, "client_secret": {""}, "client_assertion": {keyed}, "client_assertion_type": {bearer}},
		{"grant_type": {"client_credentials"}, "client_id": {""}, "client_secret": {""}, "client_assertion": {workload}, "client_assertion_type": {bearer}},
		{"grant_type": {"refresh_token"}, "client_id": {"https://client.test/"}, "client_secret": {""}},
	} {
		for name, values := range basic {
			if _, set := form[name]; !set {
				form[name] = values
			}
		}
		out = append(out, form.Encode())
	}
	return out
}

// FuzzTokenEndpoint sends forms to the whole handler: it never panics and never
// fails by itself, every refusal is JSON with an error code, and nothing of the
// answer may be cached.
func FuzzTokenEndpoint(f *testing.F) {
	for _, form := range forms() {
		f.Add("", form)
	}
	f.Add("Basic cmVwb3J0czpkZXYtb25seS1yZXBvcnRzLXBhc3N3b3Jk", "grant_type=client_credentials&resource=urn:own")
	f.Add("Bearer x", "grant_type=client_credentials")
	h := handler(f)
	f.Fuzz(func(t *testing.T, authorization, form string) {
		for _, path := range []string{issuer.TokenPath, issuer.RevocationPath, issuer.IntrospectionPath} {
			r := httptest.NewRequest(http.MethodPost, zoneIssuer+path, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			check(t, h, r)
		}
	})
}

// FuzzRegistration sends bodies to the registration endpoint.
func FuzzRegistration(f *testing.F) {
	for _, body := range []string{
		"", "{}", "[]", `{"redirect_uris":["https://a.example/cb"]}`, `{"redirect_uris":[""],"jwks":{}}`,
		`{"redirect_uris":["com.example:/x"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example"}`,
	} {
		f.Add(body)
	}
	h := handler(f)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, zoneIssuer+issuer.RegistrationPath, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		check(t, h, r)
	})
}

func check(t *testing.T, h http.Handler, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Fatal("the answer may be cached")
	}
	if w.Code == http.StatusInternalServerError {
		t.Fatalf("HTTP %d: %s", w.Code, w.Body)
	}
	if w.Code < http.StatusBadRequest {
		return
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Error == "" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("HTTP %d: %q is no refusal", w.Code, w.Body)
	}
}

// The fuzz target's requests come as far as they are meant to.
func TestFormsComeFar(t *testing.T) {
	want := []string{
		"grant_type is required", `"access_token":`, `"access_token":`, `"access_token":`, "subject_token is malformed", `"refresh_token":`,
		"refresh_token is unknown", "fetching the key set https://keys.test/jwks: offline",
		"fetching the OpenID configuration https://auth.atlassian.com/.well-known/openid-configuration: offline",
		"fetching the client metadata document https://client.test/: offline",
	}
	h := handler(t)
	for i, form := range forms() {
		r := httptest.NewRequest(http.MethodPost, zoneIssuer+issuer.TokenPath, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want[i]) {
			t.Errorf("%s\nanswered %s\nwithout  %s", form, w.Body, want[i])
		}
	}
}

// discard keeps no record.
type discard struct{}

func (discard) Record(context.Context, oauth.Exchange) error { return nil }
