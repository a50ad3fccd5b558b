// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/consent"
)

// site is the page with a browser that follows no redirects.
type site struct {
	t         *testing.T
	url       *url.URL
	client    *http.Client
	consented []string
}

func start(t *testing.T, path string) *site {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	if s.url, err = url.Parse(server.URL + path); err != nil {
		t.Fatal(err)
	}
	handler = consent.Handler(consent.Config{
		URL: s.url, Logger: logr.Discard(),
		Lookup: func(_ context.Context, namespace, name string) (consent.Request, error) {
			switch name {
			case "reports":
				return consent.Request{
					Namespace: namespace, Name: name, Application: "<b>reports</b>", User: "alice@example.com",
					ResourceName: "Confluence", Resource: "urn:confluence", Scopes: []string{"read", "write"}, Used: []string{"read"},
					AuthorizationEndpoint: "https://zone.example/authorize?fixed=1", ClientID: "public-app",
				}, nil
			case "down":
				return consent.Request{}, errors.New("canary: no zone")
			}
			return consent.Request{}, consent.ErrUnknown
		},
		Consented: func(namespace, name string) { s.consented = append(s.consented, namespace+"/"+name) },
	})
	return s
}

func (s *site) do(method, path string, change func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url.String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// depart presses the button and returns what the zone is asked.
func (s *site) depart() url.Values {
	s.t.Helper()
	resp, _ := s.do("POST", "/team/reports", nil)
	NewWithT(s.t).Expect(resp.StatusCode).To(Equal(303))
	target, err := resp.Location()
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	NewWithT(s.t).Expect(target.Host + target.Path).To(Equal("zone.example/authorize"))
	return target.Query()
}

func TestThereAndBack(t *testing.T) {
	for _, path := range []string{"", "/consent"} {
		t.Run("at "+path, func(t *testing.T) {
			g := NewWithT(t)
			s := start(t, path)
			resp, page := s.do("GET", "/team/reports", nil)
			g.Expect(resp.StatusCode).To(Equal(200))
			g.Expect(page).To(And(ContainSubstring("&lt;b&gt;reports&lt;/b&gt;"), ContainSubstring("alice@example.com"), ContainSubstring("<code>write</code>"), MatchRegexp(`uses of that</dt>\s*<dd>\s*<ul>\s*<li><code>read</code></li>\s*</ul>`),
				ContainSubstring("<dd>zone.example, and then"), Not(ContainSubstring("<b>reports"))))
			csp := resp.Header.Get("Content-Security-Policy")
			g.Expect(csp).To(And(ContainSubstring("default-src 'none'"), ContainSubstring("form-action 'self' https:"), ContainSubstring("frame-ancestors 'none'")))
			g.Expect(resp.Header.Get("Referrer-Policy")).To(Equal("no-referrer"))

			q := s.depart()
			g.Expect(q).To(And(
				HaveKeyWithValue("fixed", []string{"1"}), HaveKeyWithValue("response_type", []string{"code"}), HaveKeyWithValue("client_id", []string{"public-app"}),
				HaveKeyWithValue("resource", []string{"urn:confluence"}), HaveKeyWithValue("login_hint", []string{"alice@example.com"}),
				HaveKeyWithValue("code_challenge_method", []string{"S256"}), HaveKeyWithValue("redirect_uri", []string{consent.RedirectURI(s.url)})))
			g.Expect(q.Get("code_challenge")).To(HaveLen(43))
			resp, page = s.do("GET", "/-/callback?code=x&state="+q.Get("state"), nil)
			g.Expect(resp.StatusCode).To(Equal(200))
			g.Expect(page).To(ContainSubstring("Thank you"))
			g.Expect(s.consented).To(Equal([]string{"team/reports"}))
			// Once only.
			resp, page = s.do("GET", "/-/callback?code=x&state="+q.Get("state"), nil)
			g.Expect(resp.StatusCode).To(Equal(400))
			g.Expect(page).To(ContainSubstring("was used already"))
			g.Expect(s.consented).To(HaveLen(1))
		})
	}
}

func TestNotConsented(t *testing.T) {
	for name, tt := range map[string]struct {
		query  func(state string) string
		status int
		text   string
	}{
		"declined":      {func(state string) string { return "error=access_denied&error_description=She+declined.&state=" + state }, 200, "She declined."},
		"odd text":      {func(state string) string { return "error=x&error_description=%3Cscript%3E%00%C3%A9&state=" + state }, 200, "&lt;script&gt;??"},
		"no code":       {func(state string) string { return "state=" + state }, 400, "neither consent nor a refusal"},
		"empty code":    {func(state string) string { return "code=&state=" + state }, 400, "neither consent nor a refusal"},
		"another state": {func(string) string { return "code=x&state=guess" }, 400, "was opened in another browser"},
		"no state":      {func(string) string { return "code=x" }, 400, "was opened in another browser"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := start(t, "")
			resp, page := s.do("GET", "/-/callback?"+tt.query(s.depart().Get("state")), nil)
			g.Expect(resp.StatusCode).To(Equal(tt.status))
			g.Expect(page).To(ContainSubstring(tt.text))
			g.Expect(s.consented).To(BeEmpty())
		})
	}
}

func TestRefused(t *testing.T) {
	s := start(t, "")
	for name, tt := range map[string]struct {
		method, path string
		change       func(*http.Request)
		status       int
		text         string
	}{
		"unknown binding":  {"GET", "/team/other", nil, 404, "Nobody asks for consent here"},
		"unknown, started": {"POST", "/team/other", nil, 404, "Nobody asks for consent here"},
		"zone down":        {"GET", "/team/down", nil, 503, "be reached just now"},
		"cross-site form":  {"POST", "/team/reports", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "sent from another site"},
		"no such page":     {"GET", "/team", nil, 404, ""},
		"method":           {"DELETE", "/team/reports", nil, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			resp, page := s.do(tt.method, tt.path, tt.change)
			g.Expect(resp.StatusCode).To(Equal(tt.status))
			g.Expect(page).To(ContainSubstring(tt.text))
			g.Expect(strings.Contains(page, "canary")).To(BeFalse())
			g.Expect(resp.Cookies()).To(BeEmpty())
		})
	}
}

// Another name that leads to the page's address is not the page: its site would be able to read it.
func TestOtherHosts(t *testing.T) {
	for name, tt := range map[string]struct {
		url, host string
		status    int
	}{
		"its own":             {"https://consent.example/keycard", "consent.example", 200},
		"in capitals":         {"https://consent.example/keycard", "Consent.Example", 200},
		"with https's port":   {"https://consent.example/keycard", "consent.example:443", 200},
		"the port is in URL":  {"https://consent.example:443/keycard", "consent.example", 200},
		"another port":        {"https://consent.example/keycard", "consent.example:80", 421},
		"another name":        {"https://consent.example/keycard", "evil.example", 421},
		"none":                {"https://consent.example/keycard", "", 421},
		"on one's own":        {"http://127.0.0.1:8765", "127.0.0.1:8765", 200},
		"rebound to it":       {"http://127.0.0.1:8765", "evil.example:8765", 421},
		"another loopback":    {"http://127.0.0.1:8765", "localhost:8765", 421},
		"IPv6":                {"http://[::1]:8765", "[::1]:8765", 200},
		"another program's":   {"http://127.0.0.1:8765", "127.0.0.1:8766", 421},
		"http's port is told": {"http://127.0.0.1", "127.0.0.1:80", 200},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			base, err := url.Parse(tt.url)
			g.Expect(err).NotTo(HaveOccurred())
			handler := consent.Handler(consent.Config{
				URL: base, Logger: logr.Discard(), Consented: func(string, string) {},
				Lookup: func(context.Context, string, string) (consent.Request, error) {
					return consent.Request{User: "alice@example.com", AuthorizationEndpoint: "https://zone.example"}, nil
				},
			})
			for _, method := range []string{"GET", "POST"} {
				r := httptest.NewRequest(method, base.Path+"/team/reports", nil)
				r.Host = tt.host
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if tt.status == 200 && method == "POST" {
					g.Expect(w.Code).To(Equal(303))
					continue
				}
				g.Expect(w.Code).To(Equal(tt.status))
				g.Expect(strings.Contains(w.Body.String(), "alice")).To(Equal(tt.status == 200))
				g.Expect(w.Header().Get("Set-Cookie")).To(BeEmpty())
			}
		})
	}
}

// At an https address no other site of the domain can set the cookie.
func TestCookie(t *testing.T) {
	for address, want := range map[string]string{
		"https://consent.example/keycard": "^__Host-keycard_consent=[^;]+; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax$",
		"http://127.0.0.1:8765":           "^keycard_consent=[^;]+; Path=/; Max-Age=900; HttpOnly; SameSite=Lax$",
	} {
		t.Run(address, func(t *testing.T) {
			g := NewWithT(t)
			base, err := url.Parse(address)
			g.Expect(err).NotTo(HaveOccurred())
			var consented []string
			handler := consent.Handler(consent.Config{
				URL: base, Logger: logr.Discard(), Consented: func(namespace, name string) { consented = append(consented, namespace+"/"+name) },
				Lookup: func(_ context.Context, namespace, name string) (consent.Request, error) {
					return consent.Request{Namespace: namespace, Name: name, AuthorizationEndpoint: "https://zone.example"}, nil
				},
			})
			there := httptest.NewRecorder()
			handler.ServeHTTP(there, httptest.NewRequest(http.MethodPost, address+"/team/reports", nil))
			cookie := there.Header().Get("Set-Cookie")
			g.Expect(cookie).To(MatchRegexp(want))
			target, err := there.Result().Location()
			g.Expect(err).NotTo(HaveOccurred())
			r := httptest.NewRequest(http.MethodGet, address+"/-/callback?code=x&state="+target.Query().Get("state"), nil)
			r.AddCookie(there.Result().Cookies()[0])
			handler.ServeHTTP(httptest.NewRecorder(), r)
			g.Expect(consented).To(Equal([]string{"team/reports"}))
		})
	}
}

// The page names the host that the browser goes to, and nothing that could pass for another.
func TestZone(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://zone.example/authorize?x=1": "zone.example",
		"https://zone.example:8443/a":        "zone.example:8443",
		"https://known.example@zone.example": "zone.example",
		"https://z\u043ene.example":          "z?ne.example",
		"::":                                 "",
	} {
		NewWithT(t).Expect(consent.Request{AuthorizationEndpoint: endpoint}.Zone()).To(Equal(want))
	}
}

func TestLink(t *testing.T) {
	base, err := url.Parse("https://consent.example/base")
	if err != nil {
		t.Fatal(err)
	}
	g := NewWithT(t)
	g.Expect(consent.Link(base, "team", "reports")).To(Equal("https://consent.example/base/team/reports"))
	g.Expect(consent.RedirectURI(base)).To(Equal("https://consent.example/base/-/callback"))
}
