// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/clock"
)

const (
	callback = "https://zone.example.com/oauth/2/redirect"
	cloudA   = "aaaaaaaa-0000-4000-8000-000000000001"
	cloudB   = "bbbbbbbb-0000-4000-8000-000000000002"
	ann      = "ann@example.com"
	ben      = "ben@example.com"
	eve      = "eve@example.com"
	allScope = "read:page:confluence read:space:confluence read:confluence-user offline_access"
)

func data() atlassian.Data {
	return atlassian.Data{
		Apps: []atlassian.App{
			{Name: "App", ClientID: "app", ClientSecret: "app-secret", Callback: callback, Scopes: []string{
				"read:page:confluence", "read:space:confluence", "read:confluence-user", "read:confluence-content.all",
			}},
			{Name: "Other", ClientID: "other", ClientSecret: "other-secret", Callback: "https://other.example.com/cb?fixed=1", Scopes: []string{"read:page:confluence"}},
		},
		Users: []atlassian.User{
			{AccountID: "ann-id", Email: ann, Name: "Ann"},
			{AccountID: "ben-id", Email: ben, Name: "Ben"},
			{AccountID: "eve-id", Email: eve, Name: "Eve"},
		},
		Sites: []atlassian.Site{
			{CloudID: cloudA, URL: "https://a.atlassian.net", Name: "a", Members: []string{ann, ben}, Spaces: []atlassian.Space{
				{ID: "1", Key: "ONE", Name: "One", Pages: []atlassian.Page{
					{ID: "11", Title: "Home", Body: "<p>\"home\"</p>"},
					{ID: "12", Title: "Child", Parent: "11"},
					{ID: "13", Title: "Private", RestrictedTo: []string{ann}},
				}},
				{ID: "2", Key: "TWO", Name: "Two", RestrictedTo: []string{ann}, Pages: []atlassian.Page{{ID: "21", Title: "Hidden"}}},
			}},
			{CloudID: cloudB, URL: "https://b.atlassian.net", Name: "b", Members: []string{ann}, BlockedApps: []string{"app"}},
		},
	}
}

// standIn is a server with a browser that never follows redirects.
type standIn struct {
	*atlassian.Server
	*clock.Clock
	t   *testing.T
	url string
}

func start(t *testing.T, c atlassian.Config) *standIn {
	t.Helper()
	now := clock.New()
	if c.Data.Apps == nil {
		c.Data = data()
	}
	c.Clock = now.Now
	server, err := atlassian.New(c)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	return &standIn{Server: server, Clock: now, t: t, url: web.URL}
}

type reply struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (s *standIn) do(method, path, contentType, body, bearer string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("making a request: %v", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("reading: %v", err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &out.body)
	return out
}

func (s *standIn) get(path, bearer string) reply { return s.do("GET", path, "", "", bearer) }

func authorizeQuery(change url.Values) string {
	q := url.Values{
		"audience": {"api.atlassian.com"}, "client_id": {"app"}, "scope": {allScope}, "redirect_uri": {callback},
		"state": {"st"}, "response_type": {"code"}, "prompt": {"consent"},
	}
	for k, v := range change {
		q[k] = v
	}
	return "/authorize?" + q.Encode()
}

var transaction = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// open loads the authorize page and returns the id of its transaction.
func (s *standIn) open(change url.Values) string {
	s.t.Helper()
	page := s.get(authorizeQuery(change), "")
	NewWithT(s.t).Expect(page.status).To(Equal(200), page.raw)
	return transaction.FindStringSubmatch(page.raw)[1]
}

func (s *standIn) submit(form url.Values) reply {
	s.t.Helper()
	return s.do("POST", "/authorize", "application/x-www-form-urlencoded", form.Encode(), "")
}

// code takes a person through the page.
func (s *standIn) code(email string, change url.Values, sites ...string) string {
	s.t.Helper()
	got := s.submit(url.Values{"transaction": {s.open(change)}, "account": {email}, "site": sites, "decision": {"approve"}})
	NewWithT(s.t).Expect(got.status).To(Equal(302), got.raw)
	u, err := url.Parse(got.header.Get("Location"))
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	NewWithT(s.t).Expect(u.Query().Get("state")).To(Equal("st"))
	return u.Query().Get("code")
}

func (s *standIn) token(fields map[string]string) reply {
	s.t.Helper()
	all := map[string]string{"client_id": "app", "client_secret": "app-secret", "redirect_uri": callback}
	for k, v := range fields {
		all[k] = v
	}
	raw, err := json.Marshal(all)
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	return s.do("POST", "/oauth/token", "application/json", string(raw), "")
}

func (s *standIn) redeem(code string) reply {
	s.t.Helper()
	return s.token(map[string]string{"grant_type": "authorization_code", "code": code})
}

func (s *standIn) refresh(token string) reply {
	s.t.Helper()
	return s.token(map[string]string{"grant_type": "refresh_token", "refresh_token": token})
}

// login gives the tokens of a person who chose the sites.
func (s *standIn) login(email string, sites ...string) (access, refresh string) {
	s.t.Helper()
	got := s.redeem(s.code(email, nil, sites...))
	NewWithT(s.t).Expect(got.status).To(Equal(200), got.raw)
	return got.body["access_token"].(string), got.body["refresh_token"].(string)
}
