// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Secrets that tests send or receive, and that must not appear anywhere else.
const (
	clientSecret     = "s3cret-of-the-service-account"
	managementToken  = "management-token-0"
	upstreamSecret   = "upstream-app-secret-77"
	subjectToken     = "subject-token-of-alice"
	workloadJWT      = "workload.jwt.assertion"
	issuedToken      = "issued-access-token-x"
	issuedRefresh    = "issued-refresh-token-x"
	refreshTokenSent = "refresh-token-sent-x"
)

// clock is a clock that moves when told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// seen is a request as the server received it.
type seen struct {
	method, path, query string
	header              http.Header
	body                string
}

func (s seen) form(t *testing.T) url.Values {
	t.Helper()
	form, err := url.ParseQuery(s.body)
	if err != nil {
		t.Fatalf("parsing the form: %v", err)
	}
	return form
}

func (s seen) json(t *testing.T) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(s.body), &body); err != nil {
		t.Fatalf("parsing the body %q: %v", s.body, err)
	}
	return body
}

// server is an HTTP server that records requests and answers by route ("METHOD /path").
type server struct {
	*httptest.Server
	mu     sync.Mutex
	routes map[string]http.HandlerFunc
	seen   []seen
}

func newServer(t *testing.T) *server {
	t.Helper()
	return startServer(t, (*httptest.Server).Start)
}

func startServer(t *testing.T, start func(*httptest.Server)) *server {
	t.Helper()
	s := &server{routes: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), string(body)})
	handler := s.routes[r.Method+" "+r.URL.EscapedPath()]
	if handler == nil {
		handler = s.routes[""]
	}
	s.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler(w, r)
}

// on sets the answer for a route; the route "" is for all the others.
func (s *server) on(route string, handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[route] = handler
}

// requests returns what arrived for a path, or everything for "".
func (s *server) requests(path string) []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	var matching []seen
	for _, r := range s.seen {
		if path == "" || r.path == path {
			matching = append(matching, r)
		}
	}
	return matching
}

// answer makes a handler. Headers are given as alternating names and values.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// inTurn answers with each handler once, and with the last one from then on.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		handler := handlers[0]
		if len(handlers) > 1 {
			handlers = handlers[1:]
		}
		mu.Unlock()
		handler(w, r)
	}
}

const (
	tokenPath     = "/oauth/2/token"
	discoveryPath = "/.well-known/oauth-authorization-server"
	accountPath   = "/service-account-token"
)

func tokenAnswer(token string, expiresIn string) string {
	return `{"access_token":"` + token + `","token_type":"Bearer","expires_in":` + expiresIn + `}`
}

// newAPI is a management API whose token lives an hour.
func newAPI(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.on("POST "+accountPath, answer(200, tokenAnswer(managementToken, "3600")))
	return s
}

// newZone is a zone with metadata.
func newZone(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.on("GET "+discoveryPath, answer(200, metadataOf(s.URL)))
	return s
}

func metadataOf(issuer string) string {
	return `{"issuer":"` + issuer + `","token_endpoint":"` + issuer + tokenPath +
		`","authorization_endpoint":"` + issuer + `/oauth/2/authorize"}`
}

func options() keycard.Options {
	return keycard.Options{AllowInsecureLoopback: true, Timeout: 20 * time.Second}
}

func newPool(t *testing.T, o keycard.Options) *keycard.Pool {
	t.Helper()
	pool := keycard.NewPool(o)
	t.Cleanup(pool.CloseIdleConnections)
	return pool
}

func management(t *testing.T, s *server, o keycard.Options) *keycard.ManagementClient {
	t.Helper()
	m, err := newPool(t, o).Management(keycard.ManagementConfig{
		BaseURL: s.URL, ClientID: "sa-1", ClientSecret: redacted.New(clientSecret),
	})
	if err != nil {
		t.Fatalf("making the client: %v", err)
	}
	return m
}

func zoneClient(t *testing.T, s *server, o keycard.Options) *keycard.ZoneClient {
	t.Helper()
	z, err := newPool(t, o).Zone(s.URL)
	if err != nil {
		t.Fatalf("making the client: %v", err)
	}
	return z
}

func exchangeRequest() keycard.ExchangeRequest {
	return keycard.ExchangeRequest{
		ClientAuth:   keycard.ClientSecretBasic{ClientID: "app-1", ClientSecret: redacted.New(clientSecret)},
		SubjectToken: redacted.New(subjectToken),
		Resource:     "https://api.atlassian.com/ex/confluence",
		Scopes:       []string{"read:confluence-content.all"},
	}
}

func exchange(z *keycard.ZoneClient) (keycard.Token, error) {
	return z.Exchange(context.Background(), exchangeRequest())
}

func mustError(t *testing.T, err error) *keycard.Error {
	t.Helper()
	e, ok := keycard.AsError(err)
	if !ok {
		t.Fatalf("want a *keycard.Error, got %T: %v", err, err)
	}
	if strings.TrimSpace(e.Op) == "" || e.Class == "" {
		t.Fatalf("an error without operation or class: %#v", e)
	}
	return e
}
