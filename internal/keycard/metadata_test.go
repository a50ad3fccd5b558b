// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
)

const openIDPath = "/.well-known/openid-configuration"

// documents are metadata documents, given the issuer, and what is wrong with them.
var documents = map[string]struct {
	document  func(issuer string) string
	problem   string
	endpoints bool // ErrEndpointNotAllowed
}{
	"good": {document: metadataOf},
	"issuer with a slash": {document: func(i string) string {
		return `{"issuer":"` + i + `/","token_endpoint":"` + i + `/t"}`
	}},
	"unknown members": {document: func(i string) string {
		return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t","scopes_supported":[],"x":{}}`
	}},
	"authorization on another host": {document: func(i string) string {
		return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t","authorization_endpoint":"https://login.example.com/authorize"}`
	}},
	"another issuer": {
		document: func(i string) string { return `{"issuer":"https://evil.example","token_endpoint":"` + i + `/t"}` },
		problem:  `the metadata is for the issuer "https://evil.example", not for this one`,
	},
	"issuer with a path": {
		document: func(i string) string { return `{"issuer":"` + i + `/other","token_endpoint":"` + i + `/t"}` },
		problem:  `/other", not for this one`,
	},
	"no issuer": {
		document: func(i string) string { return `{"token_endpoint":"` + i + `/t"}` },
		problem:  `the metadata is for the issuer "", not for this one`,
	},
	"no token endpoint": {
		document: func(i string) string { return `{"issuer":"` + i + `"}` },
		problem:  "the metadata has no token_endpoint",
	},
	"token endpoint on another host": {
		document:  func(i string) string { return `{"issuer":"` + i + `","token_endpoint":"https://evil.example/t"}` },
		problem:   "the metadata's token_endpoint is not on the issuer's host 127.0.0.1",
		endpoints: true,
	},
	"token endpoint on another port": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"http://127.0.0.1:1/t"}`
		},
		problem:   "the metadata's token_endpoint is not on the issuer's host 127.0.0.1",
		endpoints: true,
	},
	"token endpoint with another scheme": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + strings.Replace(i, "http:", "https:", 1) + `/t"}`
		},
		problem:   "the metadata's token_endpoint is not on the issuer's host 127.0.0.1",
		endpoints: true,
	},
	"token endpoint with a user": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + strings.Replace(i, "://", "://u:p@", 1) + `/t"}`
		},
		problem:   "the metadata's token_endpoint is not on the issuer's host",
		endpoints: true,
	},
	"token endpoint with a fragment": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t#x"}`
		},
		problem:   "the metadata's token_endpoint is not on the issuer's host",
		endpoints: true,
	},
	"authorization without a host": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t","authorization_endpoint":"https:/authorize"}`
		},
		problem:   "the metadata's authorization_endpoint is not an https URL",
		endpoints: true,
	},
	"relative token endpoint": {
		document:  func(i string) string { return `{"issuer":"` + i + `","token_endpoint":"/t"}` },
		problem:   "the metadata's token_endpoint is not on the issuer's host",
		endpoints: true,
	},
	"authorization over http": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t","authorization_endpoint":"http://login.example.com/a"}`
		},
		problem:   "the metadata's authorization_endpoint is not an https URL",
		endpoints: true,
	},
	"issuer with a megabyte of slashes": {
		document: func(i string) string {
			return `{"issuer":"` + i + strings.Repeat("/", 900<<10) + `","token_endpoint":"` + i + `/t"}`
		},
		problem:   "the metadata has a URL of more than 2048 bytes",
		endpoints: true,
	},
	"token endpoint of a megabyte": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + i + `/` + strings.Repeat("t", 900<<10) + `"}`
		},
		problem:   "the metadata has a URL of more than 2048 bytes",
		endpoints: true,
	},
	"authorization as a script": {
		document: func(i string) string {
			return `{"issuer":"` + i + `","token_endpoint":"` + i + `/t","authorization_endpoint":"javascript:alert(1)"}`
		},
		problem:   "the metadata's authorization_endpoint is not an https URL",
		endpoints: true,
	},
}

func TestDiscovery(t *testing.T) {
	for name, tc := range documents {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newServer(t)
			s.on("GET "+discoveryPath, answer(200, tc.document(s.URL)))
			z := zoneClient(t, s, options())
			m, err := z.Metadata(context.Background())
			if tc.problem == "" {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(m.TokenEndpoint).To(HavePrefix(s.URL + "/"))
				return
			}
			e := mustError(t, err)
			g.Expect(e.Error()).To(HavePrefix("reading the zone's metadata: "))
			g.Expect(e.Description).To(ContainSubstring(tc.problem))
			g.Expect(e.Class).To(Equal(keycard.Misconfigured))
			g.Expect(errors.Is(err, keycard.ErrEndpointNotAllowed)).To(Equal(tc.endpoints))

			_, err = exchange(z)
			g.Expect(err).To(MatchError(e.Error()), "an exchange reports the same, and sends no credential")
			for _, r := range s.requests("") {
				g.Expect(r.method).To(Equal("GET"))
				g.Expect(r.header).NotTo(HaveKey("Authorization"))
			}
		})
	}
}

func TestDiscoveryAnswersThatAreNotMetadata(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		class  keycard.Class
		text   string
	}{
		"web page":       {answer(200, "<html>", "Content-Type", "text/html"), keycard.Misconfigured, "HTTP 200: answered text/html instead of JSON; is the URL right?"},
		"broken":         {answer(200, `{"issuer":`), keycard.Transient, "HTTP 200: answered malformed JSON"},
		"another type":   {answer(200, `{"issuer":7}`), keycard.Transient, "HTTP 200: answered malformed JSON"},
		"a list":         {answer(200, `[]`), keycard.Transient, "HTTP 200: answered malformed JSON"},
		"server error":   {answer(500, `{}`), keycard.Transient, "HTTP 500"},
		"not found":      {answer(404, "nothing here", "Content-Type", "text/plain"), keycard.Misconfigured, "HTTP 404: answered text/plain instead of JSON; is the URL right?"},
		"asks for pause": {answer(429, `{}`, "Retry-After", "5"), keycard.Throttled, "HTTP 429"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newServer(t)
			s.on("", tc.answer)
			_, err := zoneClient(t, s, options()).Metadata(context.Background())
			e := mustError(t, err)
			g.Expect(e.Class).To(Equal(tc.class))
			g.Expect(e).To(MatchError("reading the zone's metadata: " + tc.text))
		})
	}
}

func TestDiscoveryFallsBackToOpenID(t *testing.T) {
	t.Run("on 404", func(t *testing.T) {
		g := NewWithT(t)
		s := newServer(t)
		s.on("GET "+openIDPath, answer(200, metadataOf(s.URL)))
		m, err := zoneClient(t, s, options()).Metadata(context.Background())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(m).To(Equal(keycard.ServerMetadata{
			Issuer: s.URL, TokenEndpoint: s.URL + tokenPath, AuthorizationEndpoint: s.URL + "/oauth/2/authorize",
		}))
	})
	t.Run("and only on 404", func(t *testing.T) {
		g := NewWithT(t)
		s := newServer(t)
		s.on("GET "+discoveryPath, answer(503, `{}`))
		s.on("GET "+openIDPath, answer(200, metadataOf(s.URL)))
		_, err := zoneClient(t, s, options()).Metadata(context.Background())
		g.Expect(err).To(HaveOccurred())
		g.Expect(s.requests(openIDPath)).To(BeEmpty())
	})
}

func TestMetadataIsCachedForAnHour(t *testing.T) {
	g := NewWithT(t)
	s := newZone(t)
	s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
	c := newClock()
	o := options()
	o.Now = c.now
	z := zoneClient(t, s, o)
	for range 3 {
		_, err := exchange(z)
		g.Expect(err).NotTo(HaveOccurred())
	}
	c.advance(time.Hour - time.Millisecond)
	_, err := exchange(z)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.requests(discoveryPath)).To(HaveLen(1))
	c.advance(time.Millisecond)
	_, err = exchange(z)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.requests(discoveryPath)).To(HaveLen(2))
}

func TestDiscoveryErrorsAreNotCached(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	s.on("GET "+discoveryPath, inTurn(
		answer(500, `{}`),
		answer(200, metadataOf("https://evil.example")),
		answer(200, metadataOf(s.URL)),
	))
	z := zoneClient(t, s, options())
	_, err := z.Metadata(context.Background())
	g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Transient))
	_, err = z.Metadata(context.Background())
	g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
	for range 2 {
		_, err = z.Metadata(context.Background())
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(s.requests(discoveryPath)).To(HaveLen(3))
}

func TestDiscoveryIsDoneOnce(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	release := make(chan struct{})
	var count atomic.Int64
	s.on("GET "+discoveryPath, func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		<-release
		answer(200, metadataOf(s.URL))(w, r)
	})
	s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
	z := zoneClient(t, s, options())
	var started, done sync.WaitGroup
	errs := make(chan error, 32)
	for range cap(errs) {
		started.Add(1)
		done.Go(func() {
			started.Done()
			_, err := exchange(z)
			errs <- err
		})
	}
	started.Wait()
	close(release)
	done.Wait()
	close(errs)
	for err := range errs {
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(count.Load()).To(BeEquivalentTo(1))
}

func TestAMovedTokenEndpointIsFoundAgain(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	s.on("GET "+discoveryPath, inTurn(
		answer(200, `{"issuer":"`+s.URL+`","token_endpoint":"`+s.URL+`/old"}`),
		answer(200, metadataOf(s.URL)),
	))
	s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
	z := zoneClient(t, s, options())
	_, err := exchange(z)
	g.Expect(mustError(t, err).Status).To(Equal(404))
	_, err = exchange(z)
	g.Expect(err).NotTo(HaveOccurred())
}
