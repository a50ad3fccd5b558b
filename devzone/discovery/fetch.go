// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxDocument is the largest document in bytes.
	maxDocument = 256 << 10
	// fetchTimeout bounds one request with its redirects.
	fetchTimeout = 5 * time.Second
	// maxRedirects within one origin.
	maxRedirects = 3
	// maxAge is how long a document is used without asking again.
	maxAge = 5 * time.Minute
	// retryAfter is how soon a key that is not in a key set makes the zone ask
	// for the set again.
	retryAfter = 10 * time.Second
)

// FetchError says which document could not be had, and why.
type FetchError struct {
	// What is the document in words, such as "key set".
	What string
	// URL is its address without user, query and fragment.
	URL string
	// Reason is the cause.
	Reason string
	// Temporary is true when the same request may work later.
	Temporary bool
}

// Error names the document, its address and the reason.
func (e *FetchError) Error() string {
	return fmt.Sprintf("fetching the %s %s: %s", e.What, e.URL, e.Reason)
}

// Fetcher fetches and keeps documents. It is safe for concurrent use.
type Fetcher struct {
	client  *http.Client
	clock   func() time.Time
	flights singleflight.Group
	mu      sync.Mutex
	kept    map[string]kept
}

// kept is a parsed document.
type kept struct {
	value   any
	fetched time.Time
	// tried is the time of the last attempt, which may have failed.
	tried time.Time
}

// New returns a fetcher that uses the client's transport.
func New(client *http.Client, clock func() time.Time) *Fetcher {
	c := *client
	c.Timeout = fetchTimeout
	c.CheckRedirect = sameOrigin
	c.Jar = nil
	return &Fetcher{client: &c, clock: clock, kept: map[string]kept{}}
}

var errForeignRedirect = errors.New("it redirects to another origin, which is not followed")

func sameOrigin(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Scheme != first.Scheme || r.URL.Host != first.Host {
		return errForeignRedirect
	}
	if len(via) > maxRedirects {
		return errors.New("it redirects too often")
	}
	return nil
}

// document is one kind of document.
type document[T any] struct {
	what  string
	parse func(body []byte) (T, error)
}

// load returns the document at the address, from memory when it is not older
// than age. The time tells when it was fetched.
func load[T any](ctx context.Context, f *Fetcher, d document[T], address string, age time.Duration) (T, error) {
	key := d.what + " " + address
	f.mu.Lock()
	k, found := f.kept[key]
	f.mu.Unlock()
	now := f.clock()
	if found && (now.Sub(k.fetched) < age || (age < maxAge && now.Sub(k.tried) < age)) {
		return k.value.(T), nil
	}
	// The flight outlives the caller that started it, because others wait too.
	flight := f.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		value, err := fetch(ctx, f, d, address)
		f.keep(key, value, err)
		return value, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for the %s: %w", d.what, ctx.Err())
	case r := <-flight:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	}
}

func (f *Fetcher) keep(key string, value any, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, found := f.kept[key]
	k.tried = f.clock()
	if err == nil {
		k.value, k.fetched = value, k.tried
	} else if !found {
		return
	}
	f.kept[key] = k
}

func fetch[T any](ctx context.Context, f *Fetcher, d document[T], address string) (T, error) {
	var none T
	failed := func(temporary bool, format string, args ...any) error {
		return &FetchError{What: d.what, URL: printable(address), Reason: fmt.Sprintf(format, args...), Temporary: temporary}
	}
	if !absolute(address) {
		return none, failed(false, "it is no absolute http or https URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return none, failed(false, "it is no absolute http or https URL")
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Header.Set("User-Agent", "keycard-devzone")
	resp, err := f.client.Do(req)
	if err != nil {
		reason, temporary := unreachable(err)
		return none, failed(temporary, "%s", reason)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		temporary := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError
		return none, failed(temporary, "HTTP %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return none, failed(true, "the answer broke off")
	}
	if len(body) > maxDocument {
		return none, failed(false, "it is larger than %d bytes", maxDocument)
	}
	value, err := d.parse(body)
	if err != nil {
		return none, failed(false, "%s", err.Error())
	}
	return value, nil
}

// unreachable words the error of a request without an answer.
func unreachable(err error) (reason string, temporary bool) {
	cause := err
	if outer, ok := errors.AsType[*url.Error](err); ok {
		// The outer error repeats the URL, with its query.
		cause = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", fetchTimeout), true
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not trusted: " + untrusted.Err.Error() + " (name its CA when the zone starts)", false
	}
	return cause.Error(), !errors.Is(err, errForeignRedirect)
}

// printable is an address as it may appear in an error.
func printable(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String()
}

func absolute(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
