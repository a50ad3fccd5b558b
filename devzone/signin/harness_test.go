// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/devzone/signin"
	"github.com/keycardai/keycard-operator/devzone/store"
)

const (
	host        = "zn-demo.zone.example"
	origin      = "https://" + host
	application = "https://app.example/callback"
	confluence  = "https://api.atlassian.com/ex/confluence"
	jira        = "https://api.atlassian.com/ex/jira"
	own         = "https://api.app.example"
	foreign     = "https://api.other.example"
	challenge   = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
)

// longest is the longest password that there can be.
var longest = strings.Repeat("x", 72)

// site is a zone's pages, with Atlassian behind them.
type site struct {
	*clock.Clock
	t        testing.TB
	store    *store.Store
	zone     http.Handler
	upstream http.Handler
	mu       sync.Mutex
	outcomes []signin.Outcome
}

// newSeed is the default one with nobody who has agreed yet and applications of
// every kind.
func newSeed() *seed.Seed {
	s := seed.Default()
	for i := range s.Users {
		s.Users[i].Consents = nil
	}
	s.Users = append(s.Users, seed.User{Email: "long@example.com", Password: longest}, seed.User{Email: "nopassword@example.com"})
	s.Providers = []seed.Provider{{
		Identifier: "https://auth.atlassian.com", Name: "Atlassian", ClientID: "atlassian-app", ClientSecret: "dev-only-atlassian-secret",
		AuthorizationEndpoint: "https://auth.atlassian.com/authorize", TokenEndpoint: "https://auth.atlassian.com/oauth/token",
		AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
	}}
	public := func(name, consent string, redirectURIs, dependencies []string) seed.Application {
		return seed.Application{
			Identifier: name, Name: "Application " + name, Consent: consent, RedirectURIs: redirectURIs, Dependencies: dependencies,
			Credentials: []seed.Credential{{Type: "public", Identifier: name}},
		}
	}
	s.Applications = append(s.Applications,
		public("app", "required", []string{application}, []string{confluence}),
		public("two", "required", []string{application}, []string{confluence, jira}),
		public("trusted", "implicit", []string{application}, nil),
		public("several", "required", []string{application, "http://127.0.0.1/callback", "http://localhost:1/cb?x=1", "com.example.app:/cb"}, nil),
		public("script", "required", []string{"javascript:alert(1)"}, nil),
		public("bare", "required", nil, []string{confluence}))
	s.Resources = []seed.Resource{
		{Identifier: confluence, Name: "Confluence", Provider: "https://auth.atlassian.com", Scopes: []string{"read:page:confluence", "offline_access"}},
		{Identifier: jira, Name: "Jira", Provider: "https://auth.atlassian.com", Scopes: []string{"read:space:confluence", "offline_access"}},
		{Identifier: own, Name: "Own API", Application: "app"},
		{Identifier: foreign, Name: "Foreign API"},
	}
	return s
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, Clock: clock.New()}
	content := newSeed()
	if err := content.Validate(); err != nil {
		t.Fatal(err)
	}
	content = content.WithIssuer(origin)
	issuers, err := issuer.NewMap(content.Zone.ID, origin)
	if err != nil {
		t.Fatal(err)
	}
	s.store = store.New(s.Now)
	if err := content.Apply(s.store, issuers.Of); err != nil {
		t.Fatal(err)
	}
	if s.upstream, err = atlassian.New(atlassian.Config{Data: content.Atlassian, Clock: s.Now}); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		s.upstream.ServeHTTP(recorder, r)
		return recorder.Result(), nil
	})}
	logger := slog.New(slog.DiscardHandler)
	s.zone = signin.New(signin.Config{
		Store: s.store, Issuers: issuers, Clock: s.Now, Logger: logger, Client: client,
		Broker:  broker.New(broker.Config{Store: s.store, Issuers: issuers, Clock: s.Now, Client: client}),
		Locate:  func(target string) string { return target },
		Observe: s.observe,
	})
	return s
}

// in makes a subtest the one that fails, and returns its matchers.
func (s *site) in(t *testing.T) *WithT {
	before := s.t
	s.t = t
	t.Cleanup(func() { s.t = before })
	return NewWithT(t)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (s *site) observe(_ context.Context, o signin.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, o)
}

func (s *site) observed() []signin.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]signin.Outcome(nil), s.outcomes...)
}

// query is an authorize request of the application app.
func query(change url.Values) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {application}, "state": {"st&te"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "scope": {"openid email"},
	}
	for name, values := range change {
		q[name] = values
		if values == nil {
			delete(q, name)
		}
	}
	return q
}

// browser keeps cookies and follows what leads to the zone itself.
type browser struct {
	*site
	cookies map[string]string
	address string
}

// answer is what a browser got in the end.
type answer struct {
	Status int
	Header http.Header
	Body   string
	// To is where the answer leads, if it leads elsewhere.
	To *url.URL
}

func (s *site) browser() *browser {
	return &browser{site: s, cookies: map[string]string{}, address: "192.0.2.1:1000"}
}

// once makes one request.
func (b *browser) once(method, target string, form url.Values) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host, r.RemoteAddr = host, b.address
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) answer {
	b.t.Helper()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	recorder := httptest.NewRecorder()
	b.zone.ServeHTTP(recorder, r)
	result := recorder.Result()
	for _, c := range result.Cookies() {
		NewWithT(b.t).Expect(c.HttpOnly && c.Secure && c.SameSite == http.SameSiteLaxMode && strings.HasPrefix(c.Name, "__Host-")).
			To(BeTrue(), c.String())
		b.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	a := answer{Status: result.StatusCode, Header: result.Header, Body: html.UnescapeString(recorder.Body.String())}
	target := result.Header.Get("Location")
	if _, refresh, ok := strings.Cut(result.Header.Get("Refresh"), "0; url="); ok {
		target = refresh
	}
	if target != "" {
		var err error
		if a.To, err = url.Parse(target); err != nil {
			b.t.Fatalf("%q: %v", target, err)
		}
	}
	return a
}

// do makes a request and follows redirects within the zone.
func (b *browser) do(method, target string, form url.Values) answer {
	b.t.Helper()
	a := b.once(method, target, form)
	for a.To != nil && a.To.Host == "" {
		a = b.once(http.MethodGet, a.To.String(), nil)
	}
	return a
}

func (b *browser) authorize(change url.Values) answer {
	b.t.Helper()
	return b.do(http.MethodGet, "/oauth/2/authorize?"+query(change).Encode(), nil)
}

var hidden = regexp.MustCompile(`name="i" value="([^"]+)"`)

// interaction is the id in the form of a page.
func (a answer) interaction(t testing.TB) string {
	t.Helper()
	m := hidden.FindStringSubmatch(a.Body)
	if m == nil {
		t.Fatalf("no form in %d %s", a.Status, a.Body)
	}
	return m[1]
}

func (b *browser) login(page answer, name, password string) answer {
	b.t.Helper()
	return b.do(http.MethodPost, "/login", url.Values{"i": {page.interaction(b.t)}, "identifier": {name}, "password": {password}})
}

// signIn fills in the login page for one of the seed's people.
func (b *browser) signIn(page answer, name string) answer {
	b.t.Helper()
	return b.login(page, name+"@example.com", "dev-only-"+name+"-password")
}

func (b *browser) decide(page answer, action string) answer {
	b.t.Helper()
	return b.do(http.MethodPost, "/login/consent", url.Values{"i": {page.interaction(b.t)}, "action": {action}})
}

var transaction = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// agree goes to Atlassian and comes back.
func (b *browser) agree(leaving answer, name string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, b.agreed(leaving, name), nil)
}

// agreed is the address at which the browser comes back from Atlassian.
func (b *browser) agreed(leaving answer, name string) string {
	b.t.Helper()
	if leaving.To == nil || leaving.To.Host != "auth.atlassian.com" {
		b.t.Fatalf("not on the way to Atlassian: %d %s %v", leaving.Status, leaving.Body, leaving.To)
	}
	page := b.atAtlassian(http.MethodGet, leaving.To.RequestURI(), "")
	form := url.Values{
		"transaction": {transaction.FindStringSubmatch(page.Body.String())[1]}, "decision": {"approve"},
		"account": {name + "@example.com"}, "site": {"11111111-2222-4333-8444-555555555555"},
	}
	back := b.atAtlassian(http.MethodPost, "/authorize", form.Encode()).Header().Get("Location")
	target, ok := strings.CutPrefix(back, origin)
	if !ok {
		b.t.Fatalf("Atlassian redirected to %q", back)
	}
	return target
}

func (b *browser) atAtlassian(method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	recorder := httptest.NewRecorder()
	b.upstream.ServeHTTP(recorder, r)
	return recorder
}

// code is the row of the code that came back to the application.
func (s *site) code(a answer) store.Code {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(a.To).NotTo(BeNil(), a.Body)
	g.Expect(a.To.String()).To(HavePrefix(application + "?"))
	q := a.To.Query()
	g.Expect(q.Get("error")).To(BeEmpty(), q.Get("error_description"))
	g.Expect(q.Get("state")).To(Equal("st&te"))
	g.Expect(q.Get("iss")).To(Equal(origin))
	var found store.Code
	g.Expect(s.store.View(func(tx *store.Tx) error {
		found, _ = tx.Codes.Find("zn-demo", store.DigestKey(store.DigestOf(q.Get("code"))))
		return nil
	})).To(Succeed())
	g.Expect(found.ID).NotTo(BeEmpty())
	return found
}

// expectError checks the error that came back to the application.
func (s *site) expectError(a answer, code, text string) {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(a.To).NotTo(BeNil(), a.Body)
	g.Expect(a.To.String()).To(HavePrefix(application + "?"))
	q := a.To.Query()
	g.Expect(q.Get("error")).To(Equal(code), q.Get("error_description"))
	g.Expect(q.Get("error_description")).To(ContainSubstring(text))
	g.Expect(q.Get("state")).To(Equal("st&te"))
	g.Expect(q.Get("iss")).To(Equal(origin))
	g.Expect(q.Has("code")).To(BeFalse())
}

func (s *site) user(name string) store.User {
	s.t.Helper()
	var u store.User
	NewWithT(s.t).Expect(s.store.View(func(tx *store.Tx) error {
		u, _ = tx.Users.Find("zn-demo", name+"@example.com")
		return nil
	})).To(Succeed())
	return u
}
