// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
)

// answers is a transport that answers by itself.
type answers func(r *http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func page(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

const oneKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func TestConcurrentCallersShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		var requests atomic.Int64
		release := make(chan struct{})
		f := New(&http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			<-release
			return page(200, oneKey), r.Context().Err()
		})}, time.Now)
		gone, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := f.Keys(gone, "https://keys.test/jwks", "a")
			g.Expect(err).To(MatchError(context.Canceled))
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				keys, err := f.Keys(t.Context(), "https://keys.test/jwks", "a")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(keys).To(HaveLen(1))
			})
		}
		synctest.Wait()
		// The caller who started it gives up; the others still get an answer.
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		g.Expect(requests.Load()).To(Equal(int64(1)))
	})
}

func TestAges(t *testing.T) {
	g := NewWithT(t)
	var requests int
	now := time.Unix(0, 0)
	var failing error
	f := New(&http.Client{Transport: answers(func(*http.Request) (*http.Response, error) {
		requests++
		return page(200, oneKey), failing
	})}, func() time.Time { return now })
	// Each step: how long after the one before, which kid, how many requests
	// there were in all, and whether there is a key.
	for _, step := range []struct {
		after    time.Duration
		kid      string
		down     bool
		requests int
		keys     int
		fails    bool
	}{
		{0, "a", false, 1, 1, false},
		{0, "", false, 1, 1, false},
		{9 * time.Second, "b", false, 1, 0, false},
		{time.Second, "b", false, 2, 0, false},
		{5 * time.Second, "b", false, 2, 0, false},
		{5 * time.Second, "b", true, 3, 0, true},
		{9 * time.Second, "b", true, 3, 0, false},
		{0, "a", true, 3, 1, false},
		{5 * time.Minute, "a", true, 4, 0, true},
		{0, "a", true, 5, 0, true},
		{0, "a", false, 6, 1, false},
	} {
		now = now.Add(step.after)
		failing = nil
		if step.down {
			failing = errors.New("connection refused")
		}
		keys, err := f.Keys(t.Context(), "https://keys.test/jwks", step.kid)
		g.Expect(err != nil).To(Equal(step.fails), "%+v: %v", step, err)
		g.Expect(keys).To(HaveLen(step.keys), "%+v", step)
		g.Expect(requests).To(Equal(step.requests), "%+v", step)
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		f := New(&http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}, time.Now)
		start := time.Now()
		_, err := f.Client(t.Context(), "https://client.test/?secret#x")
		g.Expect(time.Since(start)).To(Equal(5 * time.Second))
		g.Expect(err).To(MatchError("fetching the client metadata document https://client.test/: no answer within 5s"))
		g.Expect(err.(*FetchError).Temporary).To(BeTrue())
	})
}

// Two spellings of an issuer share a document, but not its identity.
func TestIssuersAreCompared(t *testing.T) {
	g := NewWithT(t)
	f := New(&http.Client{Transport: answers(func(*http.Request) (*http.Response, error) {
		return page(200, `{"issuer":"https://a.test","jwks_uri":"https://a.test/keys"}`), nil
	})}, time.Now)
	uri, err := f.KeySetURI(t.Context(), "https://a.test")
	g.Expect(uri, err).To(Equal("https://a.test/keys"))
	_, err = f.KeySetURI(t.Context(), "https://a.test/")
	g.Expect(err).To(MatchError(ContainSubstring("its issuer is another one")))
}

func TestAddresses(t *testing.T) {
	g := NewWithT(t)
	f := New(&http.Client{Transport: answers(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("asked")
	})}, time.Now)
	for _, address := range []string{"", "a", "/a", "file:///etc/passwd", "https://", "ftp://a", "https://%zz", "urn:a"} {
		_, err := f.Keys(t.Context(), address, "")
		g.Expect(err).To(MatchError(ContainSubstring("no absolute http or https URL")), address)
	}
}

// FuzzDocuments feeds what others publish: no panic, a bounded number of public
// keys, and errors that do not repeat it.
func FuzzDocuments(f *testing.F) {
	for _, body := range []string{oneKey, "", "{}", `{"keys":null}`, `{"keys":[{}]}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQ","x5c":["AA"]}]}`, `{"client_id":"a","jwks":{"keys":[]}}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := ParseKeySet(body)
		if len(keys) > maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		for _, k := range keys {
			if !k.IsPublic() || !k.Valid() {
				t.Fatalf("key %q", k.KeyID)
			}
		}
		if err != nil && len(body) > 16 && strings.Contains(err.Error(), string(bytes.TrimSpace(body))) {
			t.Fatal("the error repeats the document")
		}
		if c, err := parseClient(body, "a"); err == nil && len(c.Keys) > maxKeys {
			t.Fatal("too many keys")
		}
	})
}
