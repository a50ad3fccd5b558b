// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

const (
	confluence     = "https://api.atlassian.com/ex/confluence"
	tokenExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
	substituteUser = "urn:keycard:params:oauth:token-type:substitute-user"
	accessToken    = "urn:ietf:params:oauth:token-type:access_token"
)

// zone is a running server with an authenticated client of its management API.
type zone struct {
	*devzone.Running
	t     testing.TB
	token string
	// transport is the default one when nil.
	transport http.RoundTripper
}

// reply is an HTTP answer with its JSON body.
type reply struct {
	Status int
	Header http.Header
	Body   map[string]any
	Raw    string
}

// start starts a server that refuses what it does not know.
func start(t testing.TB, c devzone.Config) *zone {
	t.Helper()
	c.Strict = true
	return startAs(t, c)
}

func startAs(t testing.TB, c devzone.Config) *zone {
	t.Helper()
	r, err := devzone.Start(context.Background(), c)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	z := &zone{Running: r, t: t}
	z.token = z.login("operator", "dev-only-operator-secret")
	return z
}

func (z *zone) login(id, secret string) string {
	z.t.Helper()
	got := z.form(z.APIURL+"/service-account-token", url.Values{
		"grant_type": {"client_credentials"},
		"client_id":  {id}, "client_secret": {secret},
	})
	NewWithT(z.t).Expect(got.Status).To(Equal(200), got.Raw)
	return got.Body["access_token"].(string)
}

func (z *zone) do(req *http.Request) reply {
	z.t.Helper()
	transport := z.transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		z.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		z.t.Fatalf("reading the answer: %v", err)
	}
	out := reply{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	_ = json.Unmarshal(raw, &out.Body)
	return out
}

// request makes a request; a body is a string as it is, or a value as JSON.
func (z *zone) request(method, target string, body any) *http.Request {
	z.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			z.t.Fatalf("encoding: %v", err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, target, reader)
	if err != nil {
		z.t.Fatalf("making a request: %v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// api calls the management API below the default zone.
func (z *zone) api(method, path string, body any) reply {
	z.t.Helper()
	if !strings.HasPrefix(path, "/zones") {
		path = "/zones/" + z.ZoneID + path
	}
	req := z.request(method, z.APIURL+path, body)
	req.Header.Set("Authorization", "Bearer "+z.token)
	return z.do(req)
}

// must is api for a call that has to work.
func (z *zone) must(method, path string, body any) map[string]any {
	z.t.Helper()
	got := z.api(method, path, body)
	NewWithT(z.t).Expect(got.Status).To(BeNumerically("<", 300), "%s %s: %s", method, path, got.Raw)
	return got.Body
}

func (z *zone) form(target string, form url.Values) reply {
	z.t.Helper()
	req := z.request(http.MethodPost, target, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return z.do(req)
}

// exchange calls the token endpoint as the seeded application.
func (z *zone) exchange(form url.Values) reply {
	z.t.Helper()
	req := z.request(http.MethodPost, z.ZoneURL+"/oauth/2/token", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", "dev-only-reports-password")
	return z.do(req)
}

func (z *zone) impersonate(user string) reply {
	z.t.Helper()
	return z.exchange(impersonation(user, confluence))
}

func impersonation(user, resource string) url.Values {
	part := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return url.Values{
		"grant_type":         {tokenExchange},
		"subject_token_type": {substituteUser},
		"subject_token": {part(map[string]string{"typ": "vnd.kc.su+jwt", "alg": "none"}) + "." +
			part(map[string]string{"sub": user}) + "."},
		"resource": {resource},
	}
}

// install registers what the operator registers, and returns the ids.
func (z *zone) install(change func(provider, resource map[string]any)) (providerID, resourceID string) {
	z.t.Helper()
	provider := map[string]any{
		"identifier": "https://auth.atlassian.com", "name": "Atlassian",
		"client_id": "atlassian-app", "client_secret": "dev-only-atlassian-secret",
		"protocols": map[string]any{"oauth2": map[string]any{
			"authorization_endpoint":   "https://auth.atlassian.com/authorize",
			"token_endpoint":           "https://auth.atlassian.com/oauth/token",
			"authorization_parameters": map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		}},
	}
	resource := map[string]any{
		"identifier": confluence, "name": "Confluence",
		"scopes": []string{"read:confluence-content.all", "read:confluence-space.summary", "read:confluence-user", "offline_access"},
	}
	if change != nil {
		change(provider, resource)
	}
	providerID = z.must("POST", "/providers", provider)["id"].(string)
	resource["credential_provider_id"] = providerID
	resourceID = z.must("POST", "/resources", resource)["id"].(string)
	return providerID, resourceID
}

// atlassianGet calls the stand-in with an access token.
func (z *zone) atlassianGet(path, token string) reply {
	z.t.Helper()
	req := z.request(http.MethodGet, z.AtlassianURL+path, nil)
	req.Header.Set("Authorization", "Bearer "+token)
	return z.do(req)
}

func jsonDecode(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

// lockedBuffer is a log that several goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}
