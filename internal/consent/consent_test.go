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
					ResourceName: "Confluence", Resource: "urn:confluence", Scopes: []string{"read"},
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
			g.Expect(page).To(And(ContainSubstring("&lt;b&gt;reports&lt;/b&gt;"), ContainSubstring("alice@example.com"), ContainSubstring("<code>read</code>"), Not(ContainSubstring("<b>reports"))))
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

func TestLink(t *testing.T) {
	base, err := url.Parse("https://consent.example/base")
	if err != nil {
		t.Fatal(err)
	}
	g := NewWithT(t)
	g.Expect(consent.Link(base, "team", "reports")).To(Equal("https://consent.example/base/team/reports"))
	g.Expect(consent.RedirectURI(base)).To(Equal("https://consent.example/base/-/callback"))
}
