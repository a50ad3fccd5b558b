// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/faults"
)

// broken is a server behind faults, as the surface zone.
type broken struct {
	*faults.Set
	url    string
	served atomic.Int64
}

func start(t *testing.T) *broken {
	t.Helper()
	b := &broken{Set: faults.NewSet()}
	server := httptest.NewServer(b.Wrap(faults.Zone, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.served.Add(1)
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("right "), body...))
	})))
	t.Cleanup(server.Close)
	t.Cleanup(b.Stop)
	b.url = server.URL
	return b
}

func (b *broken) add(t *testing.T, f faults.Fault) string {
	t.Helper()
	added, err := b.Add(f)
	if err != nil {
		t.Fatal(err)
	}
	return added.ID
}

// post sends a token request.
func (b *broken) post(path, grantType string) (status int, header http.Header, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.PostForm(b.url+path, url.Values{"grant_type": {grantType}})
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(raw), err
}

func TestEffects(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  faults.Fault
		status int
		body   string
		err    error
		served int64
		header map[string]string
	}{
		"status":      {faults.Fault{Status: 503}, 503, "", nil, 0, map[string]string{"Content-Type": "application/json"}},
		"answer":      {faults.Fault{Status: 429, Body: "slow down", ContentType: "text/plain", RetryAfter: 7, Headers: map[string]string{"X-A": "b"}}, 429, "slow down", nil, 0, map[string]string{"Retry-After": "7", "Content-Type": "text/plain", "X-A": "b"}},
		"malformed":   {faults.Fault{Break: faults.Malformed}, 200, `{"access_token": "x", "items": [`, nil, 0, nil},
		"empty":       {faults.Fault{Break: faults.Empty}, 200, "", nil, 0, nil},
		"html":        {faults.Fault{Break: faults.HTML}, 200, "<!DOCTYPE html><title>Bad gateway</title>", nil, 0, map[string]string{"Content-Type": "text/html"}},
		"truncated":   {faults.Fault{Break: faults.Truncated}, 200, `{"items": [`, io.ErrUnexpectedEOF, 0, nil},
		"reset":       {faults.Fault{Break: faults.Reset}, 0, "", syscall.ECONNRESET, 0, nil},
		"lost answer": {faults.Fault{Break: faults.Lost}, 0, "", syscall.ECONNRESET, 1, nil},
		"late":        {faults.Fault{Latency: "1ms"}, 200, "right grant_type=g", nil, 1, nil},
		"late error":  {faults.Fault{Latency: "1ms", Status: 500}, 500, "", nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			b := start(t)
			id := b.add(t, tt.fault)
			status, header, body, err := b.post("/x", "g")
			if tt.err == nil {
				g.Expect(err).NotTo(HaveOccurred())
			} else {
				g.Expect(errors.Is(err, tt.err)).To(BeTrue(), "%v", err)
			}
			g.Expect(status).To(Equal(tt.status))
			g.Expect(body).To(Equal(tt.body))
			g.Expect(b.served.Load()).To(Equal(tt.served))
			for name, want := range tt.header {
				g.Expect(header.Get(name)).To(Equal(want))
			}
			f, _ := b.Get(id)
			g.Expect(f.Hits).To(Equal(1))
			g.Expect(b.Remove(id)).To(BeTrue())
			_, _, body, err = b.post("/x", "g")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(body).To(Equal("right grant_type=g"), "the body is whole")
		})
	}
}

// A request that hangs ends with its client, or with the server.
func TestHang(t *testing.T) {
	g := NewWithT(t)
	b := start(t)
	b.add(t, faults.Fault{Break: faults.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = http.DefaultClient.Do(req)
	g.Expect(err).To(MatchError(context.DeadlineExceeded))
	ended := make(chan error, 1)
	go func() {
		_, _, _, err := b.post("/", "g")
		ended <- err
	}()
	g.Eventually(func() int { return b.List()[0].Hits }).Should(Equal(2))
	b.Stop()
	g.Eventually(ended).Should(Receive())
}

func TestWhichRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		fault faults.Fault
		path  string
		grant string
		hit   bool
	}{
		"all":                {faults.Fault{}, "/a/b", "g", true},
		"surface":            {faults.Fault{Surface: faults.Zone}, "/a/b", "g", true},
		"another surface":    {faults.Fault{Surface: faults.API}, "/a/b", "g", false},
		"method":             {faults.Fault{Method: "POST"}, "/a/b", "g", true},
		"another method":     {faults.Fault{Method: "GET"}, "/a/b", "g", false},
		"path":               {faults.Fault{Path: "/a/*"}, "/a/b", "g", true},
		"deeper path":        {faults.Fault{Path: "/a/*"}, "/a/b/c", "g", false},
		"below":              {faults.Fault{Path: "/a/**"}, "/a/b/c", "g", true},
		"below a pattern":    {faults.Fault{Path: "/*/b/**"}, "/a/b/c/d", "g", true},
		"not below":          {faults.Fault{Path: "/a/**"}, "/a", "g", false},
		"grant type":         {faults.Fault{GrantType: "g"}, "/a/b", "g", true},
		"another grant type": {faults.Fault{GrantType: "g"}, "/a/b", "h", false},
		"operation":          {faults.Fault{Operation: "client-credentials"}, "/oauth/2/token", "client_credentials", true},
		"another operation":  {faults.Fault{Operation: "token-exchange"}, "/oauth/2/token", "client_credentials", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			tt.fault.Status = 500
			b.add(t, tt.fault)
			status, _, _, err := b.post(tt.path, tt.grant)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			NewWithT(t).Expect(status == 500).To(Equal(tt.hit))
		})
	}
}

func TestHowMany(t *testing.T) {
	half := 0.5
	for name, tt := range map[string]struct {
		fault    faults.Fault
		least    int
		most     int
		sequence string
	}{
		"all":         {faults.Fault{}, 20, 20, ""},
		"count":       {faults.Fault{Count: 3}, 3, 3, "xxx....."},
		"after":       {faults.Fault{After: 18}, 2, 2, ""},
		"after count": {faults.Fault{After: 2, Count: 1}, 1, 1, "..x....."},
		"rate":        {faults.Fault{Rate: &half, Seed: 7}, 4, 16, ""},
		"rate count":  {faults.Fault{Rate: &half, Count: 2}, 2, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			tt.fault.Status = 500
			var runs []string
			for range 2 {
				b := start(t)
				b.add(t, tt.fault)
				var seen strings.Builder
				for range 20 {
					status, _, _, err := b.post("/", "g")
					g.Expect(err).NotTo(HaveOccurred())
					seen.WriteString(map[bool]string{true: "x", false: "."}[status == 500])
				}
				runs = append(runs, seen.String())
			}
			hits := strings.Count(runs[0], "x")
			g.Expect(hits).To(And(BeNumerically(">=", tt.least), BeNumerically("<=", tt.most)))
			g.Expect(runs[0]).To(HavePrefix(tt.sequence))
			g.Expect(runs[1]).To(Equal(runs[0]), "it can be repeated")
		})
	}
}

func TestRefused(t *testing.T) {
	bad := 1.5
	for name, tt := range map[string]struct {
		fault faults.Fault
		want  string
	}{
		"nothing":      {faults.Fault{}, "one of status, break and latency is required"},
		"operation":    {faults.Fault{Operation: "dance", Status: 500}, `operation: must be one of accessible-resources, `},
		"both":         {faults.Fault{Operation: "jwks", Path: "/x", Status: 500}, "operation: stands for surface, method, path and grant_type; leave those out"},
		"surface":      {faults.Fault{Surface: "moon", Status: 500}, `surface: must be zone, api or atlassian, got "moon"`},
		"path":         {faults.Fault{Path: "x", Status: 500}, `path: must be a pattern that begins with /, got "x"`},
		"pattern":      {faults.Fault{Path: "/[", Status: 500}, `path: must be a pattern that begins with /, got "/["`},
		"after":        {faults.Fault{After: -1, Status: 500}, "after: must not be negative, got -1"},
		"count":        {faults.Fault{Count: -1, Status: 500}, "count: must not be negative, got -1"},
		"rate":         {faults.Fault{Rate: &bad, Status: 500}, "rate: must be from 0 to 1"},
		"status":       {faults.Fault{Status: 99}, "status: must be from 200 to 599, got 99"},
		"retry after":  {faults.Fault{Status: 429, RetryAfter: -1}, "retry_after: must not be negative, got -1"},
		"break":        {faults.Fault{Break: "dance"}, `break: must be one of malformed, empty, html, truncated, reset, lost, hang, got "dance"`},
		"break status": {faults.Fault{Break: "reset", Status: 500}, "break: must not be there together with status"},
		"body":         {faults.Fault{Break: "reset", Body: "x"}, "status: is required with body, content_type, retry_after and headers"},
		"latency":      {faults.Fault{Latency: "soon"}, `latency: must be a duration such as 250ms, got "soon"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := faults.NewSet()
			_, err := s.Add(tt.fault)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.want)))
			NewWithT(t).Expect(s.List()).To(BeEmpty())
		})
	}
}

func TestAdmin(t *testing.T) {
	s := faults.NewSet()
	server := httptest.NewServer(s.Handler("127.0.0.1:0"))
	defer server.Close()
	call := func(method, path, body string, change func(*http.Request)) (int, map[string]any) {
		req, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out := map[string]any{}
		_ = json.NewDecoder(resp.Body).Decode(&out)
		return resp.StatusCode, out
	}
	g := NewWithT(t)
	status, added := call("POST", "/faults", `{"operation":"jwks","status":500}`, nil)
	g.Expect(status).To(Equal(201))
	g.Expect(added).To(And(HaveKeyWithValue("id", "1"), HaveKeyWithValue("path", "/openidconnect/jwks"), HaveKeyWithValue("hits", 0.0)))
	_, list := call("GET", "/faults", "", nil)
	g.Expect(list["items"]).To(HaveLen(1))
	status, _ = call("GET", "/faults/1", "", nil)
	g.Expect(status).To(Equal(200))
	for name, tt := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		status             int
		message            string
	}{
		"unknown field":  {"POST", "/faults", `{"stat":1}`, nil, 400, `unknown field "stat"`},
		"no JSON":        {"POST", "/faults", `x`, nil, 400, "the body is no fault"},
		"bad field":      {"POST", "/faults", `{"status":1}`, nil, 400, "status: must be from 200 to 599"},
		"unknown id":     {"GET", "/faults/9", "", nil, 404, "no fault has this id"},
		"unknown delete": {"DELETE", "/faults/9", "", nil, 404, "no fault has this id"},
		"another host":   {"GET", "/faults", "", func(r *http.Request) { r.Host = "evil.example" }, 403, "by address or as localhost"},
		"another origin": {"DELETE", "/faults", "", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := call(tt.method, tt.path, tt.body, tt.change)
			NewWithT(t).Expect(status).To(Equal(tt.status))
			if tt.message != "" {
				NewWithT(t).Expect(got["message"]).To(ContainSubstring(tt.message))
			}
		})
	}
	status, _ = call("DELETE", "/faults/1", "", nil)
	g.Expect(status).To(Equal(204))
	_, _ = call("POST", "/faults", `{"latency":"1s"}`, func(r *http.Request) { r.Host = "localhost:1" })
	status, _ = call("DELETE", "/faults", "", nil)
	g.Expect(status).To(Equal(204))
	g.Expect(s.List()).To(BeEmpty())
}
