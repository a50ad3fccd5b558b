// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestBadForms(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	page := b.authorize(nil)
	id := page.interaction(t)
	consenting := s.browser()
	ask := consenting.signIn(consenting.authorize(nil), "carol").interaction(t)
	tests := map[string]struct {
		browser *browser
		path    string
		form    url.Values
		status  int
		want    string
	}{
		"no interaction":       {b, "/login", url.Values{"identifier": {"a"}, "password": {"b"}}, 400, lost},
		"unknown interaction":  {b, "/login", url.Values{"i": {"abc"}, "identifier": {"a"}, "password": {"b"}}, 400, lost},
		"another browser":      {s.browser(), "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"dev-only-bob-password"}}, 400, lost},
		"browser of another":   {consenting, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"dev-only-bob-password"}}, 400, lost},
		"nothing":              {b, "/login", url.Values{"i": {id}}, 422, `<a href="#identifier">Enter your e-mail address.</a>`},
		"no password":          {b, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}}, 422, `<a href="#password">Enter your password.</a>`},
		"field twice":          {b, "/login", url.Values{"i": {id}, "identifier": {"a", "b"}, "password": {"b"}}, 400, "The form has a field twice."},
		"large":                {b, "/login", url.Values{"i": {id}, "identifier": {strings.Repeat("x", 17<<10)}}, 400, "The form is malformed or too large."},
		"unknown person":       {b, "/login", url.Values{"i": {id}, "identifier": {"zoe@example.com"}, "password": {"x"}}, 401, "The e-mail address or the password is wrong."},
		"wrong password":       {b, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"x"}}, 401, "The e-mail address or the password is wrong."},
		"long password":        {b, "/login", url.Values{"i": {id}, "identifier": {"long@example.com"}, "password": {longest + "y"}}, 401, "The e-mail address or the password is wrong."},
		"nobody's password":    {b, "/login", url.Values{"i": {id}, "identifier": {"nopassword@example.com"}, "password": {"x"}}, 401, "The e-mail address or the password is wrong."},
		"markup":               {b, "/login", url.Values{"i": {id}, "identifier": {`"><script>`}, "password": {"x"}}, 401, "The e-mail address or the password is wrong."},
		"consent, no action":   {consenting, "/login/consent", url.Values{"i": {ask}}, 422, "Choose Allow or Deny."},
		"consent, action":      {consenting, "/login/consent", url.Values{"i": {ask}, "action": {"maybe"}}, 422, "Choose Allow or Deny."},
		"consent unasked":      {b, "/login/consent", url.Values{"i": {id}, "action": {"approve"}}, 400, lost},
		"consent elsewhere":    {s.browser(), "/login/consent", url.Values{"i": {ask}, "action": {"approve"}}, 400, lost},
		"consent without i":    {consenting, "/login/consent", url.Values{"action": {"approve"}}, 400, lost},
		"consent, field twice": {consenting, "/login/consent", url.Values{"i": {ask}, "action": {"deny", "approve"}}, 400, "The form has a field twice."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := tt.browser.once(http.MethodPost, tt.path, tt.form)
			g.Expect(got.Status).To(Equal(tt.status), got.Body)
			g.Expect(got.To).To(BeNil())
			g.Expect(got.Body).To(ContainSubstring(tt.want))
		})
	}
	t.Run("longest password", func(t *testing.T) {
		g := s.in(t)
		page := consenting.authorize(url.Values{"prompt": {"login"}})
		g.Expect(consenting.login(page, "long@example.com", longest).Body).To(ContainSubstring("asks for access"))
	})
	t.Run("markup is escaped", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"i": {id}, "identifier": {`"><script>`}}.Encode()))
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range b.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		recorder := httptest.NewRecorder()
		s.zone.ServeHTTP(recorder, r)
		NewWithT(t).Expect(recorder.Body.String()).To(And(ContainSubstring("&lt;script&gt;"), Not(ContainSubstring("<script"))))
	})
	t.Run("after ten minutes", func(t *testing.T) {
		s.Advance(10 * time.Minute)
		got := b.once(http.MethodPost, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"dev-only-bob-password"}})
		NewWithT(t).Expect(got).To(And(HaveField("Status", 400), HaveField("Body", ContainSubstring(lost))))
	})
}

func TestBadPages(t *testing.T) {
	s := newSite(t)
	for target, want := range map[string]struct {
		status int
		text   string
	}{
		"/login":                             {400, lost},
		"/login?i=x":                         {400, lost},
		"/login/consent?i=x":                 {400, lost},
		"/login/continue":                    {400, lost},
		"/oauth/2/redirect":                  {400, lost},
		"/oauth/2/redirect?state=a.b&code=c": {400, lost},
		"/oauth/2/redirect?state=a&state=b&code=c": {400, "The provider sent the parameter state twice."},
		"/login/nothing": {404, "not found"},
	} {
		t.Run(target, func(t *testing.T) {
			g := NewWithT(t)
			got := s.browser().once(http.MethodGet, target, nil)
			g.Expect(got.Status).To(Equal(want.status))
			g.Expect(got.Body).To(ContainSubstring(want.text))
		})
	}
	t.Run("method", func(t *testing.T) {
		NewWithT(t).Expect(s.browser().once(http.MethodPost, "/login/continue", nil).Status).To(Equal(405))
	})
}

func TestCallbackTwice(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	leaving := b.decide(b.signIn(b.authorize(nil), "bob"), "approve")
	back := b.agreed(leaving, "bob")
	stranger := s.browser()
	stranger.authorize(nil)
	g.Expect(stranger.once(http.MethodGet, back, nil).Body).To(ContainSubstring(lost), "in another browser")
	s.code(b.do(http.MethodGet, back, nil))
	g.Expect(b.once(http.MethodGet, back, nil).Body).To(ContainSubstring(lost))
	t.Run("the state before the latest", func(t *testing.T) {
		g := s.in(t)
		first := b.authorize(url.Values{"resource": {confluence}})
		id, _, _ := strings.Cut(first.To.Query().Get("state"), ".")
		second := b.do(http.MethodGet, "/login/continue?i="+id, nil)
		g.Expect(b.once(http.MethodGet, b.agreed(first, "bob"), nil).Body).To(ContainSubstring(lost))
		s.code(b.agree(second, "bob"))
	})
	t.Run("too late", func(t *testing.T) {
		g := s.in(t)
		back := b.agreed(b.authorize(url.Values{"resource": {confluence}}), "bob")
		s.Advance(10 * time.Minute)
		g.Expect(b.once(http.MethodGet, back, nil).Body).To(ContainSubstring(lost))
	})
}

// A form that another site sends is refused, whatever cookies come with it.
func TestFormsFromElsewhere(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/login", "/login/consent", "/logout"} {
		for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			t.Run(path+" "+header, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, path, nil)
				r.Host = host
				r.Header.Set(header, value)
				got := s.browser().send(r)
				NewWithT(t).Expect(got).To(And(HaveField("Status", 403), HaveField("Body", ContainSubstring("This form was sent from another site."))))
			})
		}
	}
}

func TestThrottling(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	page := b.authorize(nil)
	for range 5 {
		g.Expect(b.login(page, "bob@example.com", "guess").Status).To(Equal(401))
	}
	got := b.login(page, "BOB@example.com", "dev-only-bob-password")
	g.Expect(got.Status).To(Equal(429))
	g.Expect(got.Body).To(ContainSubstring("Too many attempts. Wait a minute and try again."))
	g.Expect(got.Header.Get("Retry-After")).To(Equal("60"))
	g.Expect(b.signIn(page, "carol").Body).To(ContainSubstring("asks for access"), "others can sign in")
	s.Advance(59 * time.Second)
	g.Expect(b.login(page, "bob@example.com", "dev-only-bob-password").Header.Get("Retry-After")).To(Equal("1"))
	s.Advance(time.Second)
	g.Expect(b.signIn(b.authorize(url.Values{"prompt": {"login"}}), "bob").Body).To(ContainSubstring("asks for access"))

	t.Run("by address", func(t *testing.T) {
		g := NewWithT(t)
		s.Advance(time.Minute)
		page := b.authorize(url.Values{"prompt": {"login"}})
		for i := range 30 {
			g.Expect(b.login(page, "user"+strconv.Itoa(i), "guess").Status).To(Equal(401))
		}
		b.address = "192.0.2.1:2000"
		g.Expect(b.signIn(page, "alice").Status).To(Equal(429))
		b.address = "192.0.2.2:1000"
		g.Expect(b.signIn(page, "alice").Status).To(Equal(200))
	})
	t.Run("all at once", func(t *testing.T) {
		g := NewWithT(t)
		s.Advance(time.Minute)
		id := b.authorize(url.Values{"prompt": {"login"}}).interaction(t)
		var mu sync.Mutex
		statuses := map[int]int{}
		var tries sync.WaitGroup
		for range 20 {
			tries.Go(func() {
				other := s.browser()
				other.cookies["__Host-devzone_browser"] = b.cookies["__Host-devzone_browser"]
				got := other.once(http.MethodPost, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"guess"}})
				mu.Lock()
				defer mu.Unlock()
				statuses[got.Status]++
			})
		}
		tries.Wait()
		g.Expect(statuses).To(Equal(map[int]int{401: 5, 429: 15}))
	})
	t.Run("success is no attempt", func(t *testing.T) {
		g := NewWithT(t)
		s.Advance(time.Minute)
		for range 10 {
			g.Expect(b.signIn(b.authorize(url.Values{"prompt": {"login"}}), "bob").Status).To(Equal(200))
		}
	})
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	page := b.authorize(nil)
	answers := map[string]answer{
		"login":    page,
		"problem":  b.once(http.MethodGet, "/oauth/2/authorize", nil),
		"redirect": b.once(http.MethodGet, "/oauth/2/authorize?"+query(nil).Encode(), nil),
		"back":     b.authorize(url.Values{"prompt": {"none"}}),
		"lost":     b.once(http.MethodGet, "/login", nil),
		"nothing":  b.once(http.MethodGet, "/login/nothing", nil),
		"logout":   b.once(http.MethodGet, "/logout", nil),
		"consent":  b.signIn(page, "bob"),
	}
	answers["leave"] = b.decide(answers["consent"], "approve")
	for name, got := range answers {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			for header, want := range map[string]string{
				"Content-Security-Policy":   "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
				"Cache-Control":             "no-store",
				"X-Content-Type-Options":    "nosniff",
				"X-Frame-Options":           "DENY",
				"Referrer-Policy":           "no-referrer",
				"Strict-Transport-Security": "max-age=86400",
			} {
				g.Expect(got.Header.Get(header)).To(Equal(want), header)
			}
		})
	}
	t.Run("style", func(t *testing.T) {
		g := NewWithT(t)
		got := b.once(http.MethodGet, "/login/style.css", nil)
		g.Expect(got.Header.Get("Content-Type")).To(HavePrefix("text/css"))
		g.Expect(got.Body).To(ContainSubstring("prefers-color-scheme: dark"))
	})
}
