// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

func TestStartRefusesABadConfiguration(t *testing.T) {
	badSeed := seed.Default()
	badSeed.Zone.ID = "Not A Label"
	tests := map[string]struct {
		config devzone.Config
		want   string
	}{
		"lifetime":          {devzone.Config{ZoneTokenLifetime: time.Millisecond}, "token lifetime 1ms is too short"},
		"upstream lifetime": {devzone.Config{UpstreamTokenLifetime: -time.Second}, "token lifetime -1s is too short"},
		"mode":              {devzone.Config{UpstreamTokens: "sometimes"}, `upstream tokens "sometimes" is not one of [refresh cached]`},
		"refresh mode":      {devzone.Config{AtlassianRefresh: "never"}, `atlassian refresh "never" is not one of [overlap invalidate]`},
		"issuer":            {devzone.Config{Issuer: "zone.example.com"}, `issuer "zone.example.com" must be an http or https URL`},
		"issuer with path":  {devzone.Config{Issuer: "https://zone.example.com/x"}, "must be an http or https URL"},
		"upstream origin":   {devzone.Config{Upstreams: map[string]string{"auth": "http://127.0.0.1:1"}}, `upstream "auth"`},
		"upstream target":   {devzone.Config{Upstreams: map[string]string{"https://a.example": "http://127.0.0.1:1/x"}}, "target"},
		"seed":              {devzone.Config{Seed: badSeed}, "zone.id: must be a DNS label"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := devzone.Start(t.Context(), tt.config)
			g := NewWithT(t)
			g.Expect(err).To(MatchError(devzone.ErrInvalidConfig))
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

func TestStartRefusesATakenAddress(t *testing.T) {
	g := NewWithT(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	defer taken.Close()
	for _, c := range []devzone.Config{
		{ZoneAddress: taken.Addr().String()}, {APIAddress: taken.Addr().String()}, {AtlassianAddress: taken.Addr().String()},
	} {
		_, err := devzone.Start(t.Context(), c)
		g.Expect(err).To(MatchError(ContainSubstring("listening on " + taken.Addr().String())))
		g.Expect(err).NotTo(MatchError(devzone.ErrInvalidConfig))
	}
}

func TestHealthAndStop(t *testing.T) {
	stops := map[string]func(*devzone.Running, context.CancelFunc) error{
		"close":   func(r *devzone.Running, _ context.CancelFunc) error { return r.Close() },
		"context": func(r *devzone.Running, cancel context.CancelFunc) error { cancel(); return r.Wait() },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := devzone.Start(ctx, devzone.Config{})
			g.Expect(err).NotTo(HaveOccurred())
			urls := []string{r.ZoneURL, r.APIURL, r.AtlassianURL}
			for _, u := range urls {
				g.Expect(u).To(HavePrefix("http://127.0.0.1:"))
				resp, err := http.Get(u + "/healthz")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(resp.StatusCode).To(Equal(200))
				g.Expect(resp.Body.Close()).To(Succeed())
			}
			g.Expect(r.Issuer).To(Equal(r.ZoneURL))
			g.Expect(stop(r, cancel)).To(Succeed())
			g.Expect(r.Wait()).To(Succeed())
			g.Expect(r.Close()).To(Succeed(), "closing twice")
			for _, u := range urls {
				_, err := net.Dial("tcp", strings.TrimPrefix(u, "http://"))
				g.Expect(err).To(HaveOccurred())
			}
		})
	}
}

func TestCloseDoesNotWaitForUnusedConnections(t *testing.T) {
	g := NewWithT(t)
	r, err := devzone.Start(t.Context(), devzone.Config{})
	g.Expect(err).NotTo(HaveOccurred())
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.ZoneURL, "http://"))
	g.Expect(err).NotTo(HaveOccurred())
	defer conn.Close()
	// The answer to a second connection shows that the first was accepted.
	resp, err := http.Get(r.ZoneURL + "/healthz")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(resp.Body.Close()).To(Succeed())
	begun := time.Now()
	g.Expect(r.Close()).To(Succeed())
	g.Expect(time.Since(begun)).To(BeNumerically("<", 3*time.Second))
}

func TestCloseCutsOffWhatTakesTooLong(t *testing.T) {
	g := NewWithT(t)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	r, err := devzone.Start(t.Context(), devzone.Config{ZoneMiddleware: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(entered)
			<-release
		})
	}})
	g.Expect(err).NotTo(HaveOccurred())
	failed := make(chan error, 1)
	go func() {
		_, err := http.Get(r.ZoneURL + "/")
		failed <- err
	}()
	<-entered
	g.Expect(r.Close()).To(Succeed())
	g.Expect(<-failed).To(HaveOccurred())
}

func TestMiddleware(t *testing.T) {
	g := NewWithT(t)
	var zones, apis, atlassians atomic.Int64
	count := func(n *atomic.Int64) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				next.ServeHTTP(w, r)
			})
		}
	}
	z := start(t, devzone.Config{ZoneMiddleware: count(&zones), APIMiddleware: count(&apis), AtlassianMiddleware: count(&atlassians)})
	g.Expect([]int64{zones.Load(), apis.Load(), atlassians.Load()}).To(Equal([]int64{0, 1, 0}))
	z.install(nil)
	z.impersonate("alice@example.com")
	g.Expect([]int64{zones.Load(), apis.Load(), atlassians.Load()}).To(Equal([]int64{1, 3, 3}), "page, form and code at the stand-in")
	_, err := http.Get(z.AtlassianURL + "/healthz")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(atlassians.Load()).To(Equal(int64(3)), "health checks are not counted")
}

func TestUpstreamMap(t *testing.T) {
	g := NewWithT(t)
	var hosts []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Host)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer elsewhere.Close()
	z := start(t, devzone.Config{Upstreams: map[string]string{"https://auth.atlassian.com": elsewhere.URL}})
	z.install(nil)
	g.Expect(z.impersonate("alice@example.com").Body["error_description"]).To(ContainSubstring("HTTP 418"))
	g.Expect(hosts).To(Equal([]string{"auth.atlassian.com"}), "the Host header keeps the name")
}

func TestSeededProvidersAndResources(t *testing.T) {
	g := NewWithT(t)
	s := seed.Default()
	s.Providers = []seed.Provider{{
		Identifier: "https://auth.atlassian.com", Name: "Atlassian", ClientID: "atlassian-app",
		ClientSecret: "dev-only-atlassian-secret", AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
	}}
	s.Resources = []seed.Resource{
		{Identifier: confluence, Name: "Confluence", Provider: "https://auth.atlassian.com", Scopes: []string{"read:confluence-content.all", "offline_access"}},
		{Identifier: "{issuer}/own", Name: "Own", Application: "reports"},
	}
	s.Applications[0].Dependencies = append(s.Applications[0].Dependencies, "{issuer}/own")
	z := start(t, devzone.Config{Seed: s})
	g.Expect(z.impersonate("alice@example.com").Status).To(Equal(200))
	user := z.exchange(impersonation("alice@example.com", z.Issuer+"/own"))
	g.Expect(user.Status).To(Equal(200), user.Raw)
	form := impersonation("", confluence)
	form.Set("subject_token", user.Body["access_token"].(string))
	form.Set("subject_token_type", accessToken)
	g.Expect(z.exchange(form).Status).To(Equal(200), "the application owns the resource")
}
