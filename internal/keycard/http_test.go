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

// hijack sends bytes in the place of an HTTP answer, and closes the connection.
func hijack(send string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, send)
		_ = conn.Close()
	}
}

func TestABrokenNotFoundIsNotBelieved(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("DELETE /zones/z1/providers/p1", hijack("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{\"mess"))
	err := management(t, s, options()).DeleteProvider(context.Background(), "z1", "p1")
	g.Expect(err).To(MatchError("deleting the provider: HTTP 404: the connection closed before the answer was complete"))
	g.Expect(keycard.IsNotFound(err)).To(BeFalse())
}

func TestConnectionFailures(t *testing.T) {
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
		"no header": {wait, keycard.Options{AllowInsecureLoopback: true, ResponseHeaderTimeout: 50 * time.Millisecond, Timeout: time.Hour}},
		"no answer": {wait, keycard.Options{AllowInsecureLoopback: true, Timeout: 50 * time.Millisecond}},
		"slow body": {startThenWait, keycard.Options{AllowInsecureLoopback: true, Timeout: 200 * time.Millisecond, ResponseHeaderTimeout: time.Hour}},
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
