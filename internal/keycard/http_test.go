// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

func oauthError(code string) string {
	return `{"error":"` + code + `","error_description":"because"}`
}

func TestTokenEndpointErrorsAreClassified(t *testing.T) {
	const html = "<!DOCTYPE html><html><body>Sign in</body></html>"
	tests := map[string]struct {
		answer http.HandlerFunc
		class  keycard.Class
		text   string
		pause  time.Duration
	}{
		"missing consent":         {answer(400, oauthError("insufficient_authorization")), keycard.NeedsConsent, "insufficient_authorization: because", 0},
		"missing consent as 403":  {answer(403, oauthError("insufficient_authorization")), keycard.NeedsConsent, "insufficient_authorization: because", 0},
		"consent_required":        {answer(400, oauthError("consent_required")), keycard.NeedsConsent, "consent_required: because", 0},
		"interaction_required":    {answer(400, oauthError("interaction_required")), keycard.NeedsConsent, "interaction_required: because", 0},
		"login_required":          {answer(400, oauthError("login_required")), keycard.NeedsConsent, "login_required: because", 0},
		"code beats a 5xx":        {answer(500, oauthError("access_denied")), keycard.Denied, "access_denied: because", 0},
		"access_denied":           {answer(403, oauthError("access_denied")), keycard.Denied, "access_denied: because", 0},
		"unauthorized_client":     {answer(400, oauthError("unauthorized_client")), keycard.Denied, "unauthorized_client: because", 0},
		"invalid_client":          {answer(401, oauthError("invalid_client")), keycard.Misconfigured, "invalid_client: because", 0},
		"invalid_grant":           {answer(400, oauthError("invalid_grant")), keycard.Misconfigured, "invalid_grant: because", 0},
		"invalid_target":          {answer(400, oauthError("invalid_target")), keycard.Misconfigured, "invalid_target: because", 0},
		"invalid_scope":           {answer(400, oauthError("invalid_scope")), keycard.Misconfigured, "invalid_scope: because", 0},
		"invalid_request":         {answer(400, oauthError("invalid_request")), keycard.Misconfigured, "invalid_request: because", 0},
		"unsupported_grant_type":  {answer(400, oauthError("unsupported_grant_type")), keycard.Misconfigured, "unsupported_grant_type: because", 0},
		"unknown code":            {answer(400, oauthError("novel_trouble")), keycard.Misconfigured, "novel_trouble: because", 0},
		"temporarily_unavailable": {answer(400, oauthError("temporarily_unavailable")), keycard.Transient, "temporarily_unavailable: because", 0},
		"server_error":            {answer(400, oauthError("server_error")), keycard.Transient, "server_error: because", 0},
		"error with status 200":   {answer(200, oauthError("access_denied")), keycard.Denied, "access_denied: because", 0},

		"500":                     {answer(500, `{}`), keycard.Transient, "HTTP 500", 0},
		"500 without a body":      {answer(500, ``), keycard.Transient, "HTTP 500", 0},
		"502 html":                {answer(502, html, "Content-Type", "text/html"), keycard.Transient, "HTTP 502: answered text/html instead of JSON", 0},
		"503":                     {answer(503, `{}`), keycard.Transient, "HTTP 503", 0},
		"503 with Retry-After":    {answer(503, `{}`, "Retry-After", "7"), keycard.Throttled, "HTTP 503", 7 * time.Second},
		"busy with Retry-After":   {answer(503, oauthError("temporarily_unavailable"), "Retry-After", "7"), keycard.Throttled, "temporarily_unavailable: because", 7 * time.Second},
		"429":                     {answer(429, `{}`), keycard.Throttled, "HTTP 429", 0},
		"429 with Retry-After-Ms": {answer(429, `{}`, "Retry-After-Ms", "1500", "Retry-After", "9"), keycard.Throttled, "HTTP 429", 1500 * time.Millisecond},
		"429 for two days":        {answer(429, `{}`, "Retry-After", "172800"), keycard.Throttled, "HTTP 429", time.Hour},
		"408":                     {answer(408, `{}`), keycard.Transient, "HTTP 408", 0},
		"425":                     {answer(425, `{}`), keycard.Transient, "HTTP 425", 0},
		"400 without a code":      {answer(400, `{}`), keycard.Misconfigured, "HTTP 400", 0},
		"401 without a code":      {answer(401, `{}`), keycard.Misconfigured, "HTTP 401", 0},
		"403 without a code":      {answer(403, `{}`), keycard.Denied, "HTTP 403", 0},
		"error of another type":   {answer(400, `{"error":{"code":1},"error_description":["x"]}`), keycard.Misconfigured, "HTTP 400", 0},
		"404 html":                {answer(404, html, "Content-Type", "text/html; charset=utf-8"), keycard.Misconfigured, "HTTP 404: answered text/html instead of JSON; is the URL right?", 0},
		"200 html":                {answer(200, html, "Content-Type", "text/html"), keycard.Misconfigured, "HTTP 200: answered text/html instead of JSON; is the URL right?", 0},
		"200 html, undeclared":    {answer(200, html, "Content-Type", ""), keycard.Misconfigured, "HTTP 200: answered text/html instead of JSON; is the URL right?", 0},
		"200 odd media type":      {answer(200, html, "Content-Type", "<x>"), keycard.Misconfigured, "HTTP 200: answered another media type instead of JSON; is the URL right?", 0},
		"302 html":                {answer(302, html, "Content-Type", "text/html"), keycard.Misconfigured, "HTTP 302: answered a redirect, which is not followed; is the URL right?", 0},
		"200 empty":               {answer(200, ``), keycard.Transient, "HTTP 200: answered an empty body instead of JSON", 0},
		"200 broken JSON":         {answer(200, `{"access_token":"abc`), keycard.Transient, "HTTP 200: answered malformed JSON", 0},
		"200 broken, undeclared":  {answer(200, `{"access_token":"abc`, "Content-Type", ""), keycard.Transient, "HTTP 200: answered malformed JSON", 0},
		"200 without a token":     {answer(200, `{"token_type":"Bearer"}`), keycard.Transient, "HTTP 200: the answer has no access_token", 0},
		"500 broken JSON":         {answer(500, `{"error":`), keycard.Transient, "HTTP 500: answered malformed JSON", 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, tc.answer)
			_, err := exchange(zoneClient(t, s, options()))
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(tc.class))
			g.Expect(e.Error()).To(Equal("exchanging the token: " + tc.text))
			g.Expect(e.RetryAfter).To(Equal(tc.pause))
			g.Expect(keycard.ClassOf(fmt.Errorf("wrapped: %w", err))).To(Equal(tc.class))
			g.Expect(s.requests(tokenPath)).To(HaveLen(1), "a client never retries a token request by itself")
		})
	}
}

func TestManagementErrorsAreClassified(t *testing.T) {
	tests := map[string]struct {
		answer             http.HandlerFunc
		class              keycard.Class
		text               string
		notFound, conflict bool
	}{
		"400":           {answer(400, `{"message":"name is required","code":"validation","status":400}`), keycard.Misconfigured, "validation: name is required", false, false},
		"401":           {answer(401, `{"message":"no","code":"unauthorized","status":401}`), keycard.Misconfigured, "unauthorized: no", false, false},
		"403":           {answer(403, `{"message":"platform owned","code":"forbidden","status":403}`), keycard.Denied, "forbidden: platform owned", false, false},
		"404":           {answer(404, `{"message":"gone","code":"not_found","status":404}`), keycard.Misconfigured, "not_found: gone", true, false},
		"404 no body":   {answer(404, ``), keycard.Misconfigured, "HTTP 404", true, false},
		"404 web page":  {answer(404, `<html>`, "Content-Type", "text/html"), keycard.Misconfigured, "HTTP 404: answered text/html instead of JSON; is the URL right?", false, false},
		"404 text":      {answer(404, "404 page not found\n", "Content-Type", "text/plain"), keycard.Misconfigured, "HTTP 404: answered text/plain instead of JSON; is the URL right?", false, false},
		"409":           {answer(409, `{"message":"in use","code":"conflict","status":409}`), keycard.Misconfigured, "conflict: in use", false, true},
		"429":           {answer(429, `slow down`, "Content-Type", "text/plain", "Retry-After", "3"), keycard.Throttled, "HTTP 429: answered text/plain instead of JSON; is the URL right?", false, false},
		"500":           {answer(500, `{"message":"oops"}`), keycard.Transient, "HTTP 500: oops", false, false},
		"200 no id":     {answer(200, `{}`), keycard.Transient, "answered an object without an id", false, false},
		"200 bare list": {answer(200, `[]`), keycard.Transient, "HTTP 200: answered malformed JSON", false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("GET /zones/z1", tc.answer)
			_, err := management(t, s, options()).GetZone(context.Background(), "z1")
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(tc.class))
			g.Expect(e.Error()).To(Equal("getting the zone: " + tc.text))
			g.Expect(keycard.IsNotFound(err)).To(Equal(tc.notFound))
			g.Expect(keycard.IsConflict(err)).To(Equal(tc.conflict))
		})
	}
}

func TestConnectionFailures(t *testing.T) {
	hijack := func(send string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, send)
			_ = conn.Close()
		}
	}
	const brokeOff = "the connection closed before the answer was complete"
	tests := map[string]struct {
		handler http.HandlerFunc
		text    string
	}{
		"no answer":              {hijack(""), brokeOff},
		"not HTTP":               {hijack("SSH-2.0-" + issuedToken + "\r\n\r\n"), "connection failed"},
		"truncated header":       {hijack("HTTP/1.1 200 OK\r\nContent-Ty"), "connection failed"},
		"truncated body":         {hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":"), "HTTP 200: " + brokeOff},
		"truncated error":        {hijack("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\n{\"error"), "HTTP 502: " + brokeOff},
		"truncated chunked body": {hijack("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"acc"), "HTTP 200: " + brokeOff},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, tc.handler)
			_, err := exchange(zoneClient(t, s, options()))
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(keycard.Transient))
			g.Expect(e).To(MatchError("exchanging the token: " + tc.text))
		})
	}
	t.Run("refused", func(t *testing.T) {
		g := NewWithT(t)
		s := newZone(t)
		z := zoneClient(t, s, options())
		s.Close()
		_, err := exchange(z)
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Transient))
		g.Expect(err).To(MatchError("reading the zone's metadata: connection refused"))
	})
}

func TestTimeouts(t *testing.T) {
	wait := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	startThenWait := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"access_`)
		_ = http.NewResponseController(w).Flush()
		wait(w, r)
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		options keycard.Options
	}{
		"no header": {wait, keycard.Options{AllowInsecureLoopback: true, ResponseHeaderTimeout: 50 * time.Millisecond}},
		"no answer": {wait, keycard.Options{AllowInsecureLoopback: true, Timeout: 50 * time.Millisecond}},
		"slow body": {startThenWait, keycard.Options{AllowInsecureLoopback: true, Timeout: 200 * time.Millisecond}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("GET /zones/z1", tc.handler)
			_, err := management(t, s, tc.options).GetZone(context.Background(), "z1")
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(keycard.Transient))
			g.Expect(e.Description).To(Equal("timed out"))
		})
	}
}

func TestContextIsRecognisable(t *testing.T) {
	s := newAPI(t)
	entered := make(chan struct{})
	s.on("GET /zones/z1", func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	t.Run("cancelled", func(t *testing.T) {
		g := NewWithT(t)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-entered; cancel() }()
		_, err := management(t, s, options()).GetZone(ctx, "z1")
		g.Expect(errors.Is(err, context.Canceled)).To(BeTrue())
		g.Expect(mustError(t, err)).To(MatchError("getting the zone: cancelled"))
	})
	t.Run("cancelled with a cause", func(t *testing.T) {
		g := NewWithT(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() { <-entered; cancel(errors.New("shutting down")) }()
		_, err := management(t, s, options()).GetZone(ctx, "z1")
		g.Expect(errors.Is(err, context.Canceled)).To(BeTrue())
	})
	t.Run("deadline", func(t *testing.T) {
		g := NewWithT(t)
		m := management(t, s, options())
		g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		go func() { <-entered }()
		_, err := m.GetZone(ctx, "z1")
		g.Expect(errors.Is(err, context.DeadlineExceeded)).To(BeTrue())
		g.Expect(mustError(t, err)).To(MatchError("getting the zone: timed out"))
	})
}

func TestBodiesAreBounded(t *testing.T) {
	const size = 100 << 20
	var written atomic.Int64
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	stream := func(w io.Writer) {
		for range size / len(chunk) {
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, _ = z.Write(chunk)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		status  int
		handler http.HandlerFunc
	}{
		"chunked": {200, func(w http.ResponseWriter, _ *http.Request) { stream(w) }},
		"declared": {200, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			stream(w)
		}},
		"gzip": {200, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bytes.Repeat(member.Bytes(), size/len(chunk)))
		}},
		"error": {500, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			stream(w)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newAPI(t)
			s.on("GET /zones/z1", tc.handler)
			m := management(t, s, options())
			g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
			written.Store(0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := m.GetZone(context.Background(), "z1")
			runtime.ReadMemStats(&after)

			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(keycard.Transient))
			g.Expect(e.Status).To(Equal(tc.status))
			g.Expect(e.Description).To(Equal("the answer is larger than 1 MiB"))
			g.Expect(errors.Unwrap(err)).To(HaveOccurred())
			g.Expect(after.TotalAlloc-before.TotalAlloc).To(BeNumerically("<", 24<<20), "bytes allocated")
			g.Expect(written.Load()).To(BeNumerically("<", size/2), "bytes the server could send")
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			g := NewWithT(t)
			target := newServer(t)
			target.on("", answer(200, tokenAnswer(issuedToken, "60")))
			location := strings.Replace(target.URL, "127.0.0.1", "localhost", 1) + "/stolen?state=" + issuedToken
			redirect := answer(status, "", "Location", location)

			s := newZone(t)
			s.on("POST "+tokenPath, redirect)
			_, err := exchange(zoneClient(t, s, options()))
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(keycard.Misconfigured))
			g.Expect(e).To(MatchError(fmt.Sprintf("exchanging the token: HTTP %d: redirects to host localhost, which is not followed; is the URL right?", status)))

			api := newServer(t)
			api.on("", redirect)
			g.Expect(management(t, api, options()).CheckCredentials(context.Background())).To(MatchError(ContainSubstring("redirects to host localhost")))
			api.on("POST "+accountPath, answer(200, tokenAnswer(managementToken, "60")))
			_, err = management(t, api, options()).GetZone(context.Background(), "z1")
			g.Expect(err).To(MatchError(ContainSubstring("redirects to host localhost")))
			g.Expect(management(t, api, options()).DeleteProvider(context.Background(), "z1", "p1")).NotTo(Succeed())

			bare := newServer(t)
			bare.on("", redirect)
			_, err = zoneClient(t, bare, options()).Metadata(context.Background())
			g.Expect(err).To(MatchError(ContainSubstring("redirects to host localhost")))

			g.Expect(target.requests("")).To(BeEmpty(), "the target saw a request")
		})
	}
}

func TestTLS(t *testing.T) {
	s := startServer(t, (*httptest.Server).StartTLS)
	s.on("POST "+accountPath, answer(200, tokenAnswer(managementToken, "60")))

	t.Run("unknown authority", func(t *testing.T) {
		g := NewWithT(t)
		err := management(t, s, keycard.Options{}).CheckCredentials(context.Background())
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		g.Expect(err).To(MatchError(ContainSubstring("signed by an unknown authority")))
	})
	t.Run("configured authority", func(t *testing.T) {
		g := NewWithT(t)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		g.Expect(management(t, s, keycard.Options{RootCAs: roots}).CheckCredentials(context.Background())).To(Succeed())
	})
	t.Run("another host", func(t *testing.T) {
		g := NewWithT(t)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		m, err := newPool(t, keycard.Options{RootCAs: roots}).Management(keycard.ManagementConfig{
			BaseURL: strings.Replace(s.URL, "127.0.0.1", "localhost", 1), ClientID: "a", ClientSecret: redacted.New("b"),
		})
		g.Expect(err).NotTo(HaveOccurred())
		err = m.CheckCredentials(context.Background())
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		g.Expect(err).To(MatchError(ContainSubstring("certificate is for another host")))
	})
	t.Run("plain http", func(t *testing.T) {
		g := NewWithT(t)
		plain := newServer(t)
		m, err := newPool(t, keycard.Options{}).Management(keycard.ManagementConfig{
			BaseURL: strings.Replace(plain.URL, "http://", "https://", 1), ClientID: "a", ClientSecret: redacted.New("b"),
		})
		g.Expect(err).NotTo(HaveOccurred())
		err = m.CheckCredentials(context.Background())
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		g.Expect(err).To(MatchError(ContainSubstring("speaks http, not https")))
	})
}

func TestConnectionsAreReusedAndNamed(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	var connections atomic.Int64
	remotes := map[string]bool{}
	s.on("GET /zones/z1", func(w http.ResponseWriter, r *http.Request) {
		if !remotes[r.RemoteAddr] {
			remotes[r.RemoteAddr] = true
			connections.Add(1)
		}
		answer(200, `{"id":"z1"}`)(w, r)
	})
	o := options()
	o.UserAgent = "keycard-operator/1.2.3 (cluster-7)"
	m := management(t, s, o)
	for range 5 {
		_, err := m.GetZone(context.Background(), "z1")
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(connections.Load()).To(BeEquivalentTo(1))
	for _, r := range s.requests("") {
		g.Expect(r.header.Get("User-Agent")).To(Equal("keycard-operator/1.2.3 (cluster-7)"))
		g.Expect(r.header.Get("Accept")).To(Equal("application/json"))
	}
}

func TestURLsAreChecked(t *testing.T) {
	tests := map[string]struct {
		url      string
		loopback bool
		problem  string
	}{
		"https":                     {url: "https://api.keycard.ai"},
		"https with a slash":        {url: "https://api.keycard.ai/"},
		"https with port and path":  {url: "https://api.example.com:8443/keycard"},
		"loopback":                  {url: "http://127.0.0.1:8080", loopback: true},
		"IPv6 loopback":             {url: "http://[::1]:8080", loopback: true},
		"localhost":                 {url: "http://localhost:8080", loopback: true},
		"loopback without the flag": {url: "http://127.0.0.1:8080", problem: `the URL of host "127.0.0.1" is not https`},
		"http elsewhere":            {url: "http://api.keycard.ai", loopback: true, problem: `the URL of host "api.keycard.ai" is not https`},
		"private address":           {url: "http://10.0.0.1", loopback: true, problem: `the URL of host "10.0.0.1" is not https`},
		"localhost as a prefix":     {url: "http://localhost.example.com", loopback: true, problem: `the URL of host "localhost.example.com" is not https`},
		"other scheme":              {url: "ftp://127.0.0.1", loopback: true, problem: `the URL of host "127.0.0.1" is not https`},
		"empty":                     {url: "", problem: "the URL is empty"},
		"no scheme":                 {url: "api.keycard.ai", problem: "the URL is not of the form https://host"},
		"no host":                   {url: "https:///path", problem: "the URL is not of the form https://host"},
		"port only":                 {url: "https://:443", problem: "the URL is not of the form https://host"},
		"unparsable":                {url: "https://us er:pass@host", problem: "the URL is not of the form https://host"},
		"password":                  {url: "https://user:" + clientSecret + "@api.keycard.ai", problem: "the URL holds a user name or password; remove them"},
		"query":                     {url: "https://api.keycard.ai?token=x", problem: "the URL holds a query or fragment; remove it"},
		"fragment":                  {url: "https://api.keycard.ai#x", problem: "the URL holds a query or fragment; remove it"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			pool := newPool(t, keycard.Options{AllowInsecureLoopback: tc.loopback})
			_, zoneErr := pool.Zone(tc.url)
			_, apiErr := pool.Management(keycard.ManagementConfig{BaseURL: tc.url, ClientID: "a", ClientSecret: redacted.New("b")})
			for _, err := range []error{zoneErr, apiErr} {
				if tc.problem == "" {
					g.Expect(err).NotTo(HaveOccurred())
					continue
				}
				e := mustError(t, err)
				g.Expect(e.Class).To(Equal(keycard.Misconfigured))
				g.Expect(e.Description).To(Equal(tc.problem))
				g.Expect(errors.Is(err, keycard.ErrEndpointNotAllowed)).To(BeTrue())
			}
		})
	}
}
