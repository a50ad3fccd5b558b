// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

const (
	// readEvery is how often the consumer reads pages.
	readEvery = 200 * time.Millisecond
	// readsAfter is how many reads follow the last rotation: its token has to work too.
	readsAfter = 10
	// failuresShown is how many failures are printed; all are counted.
	failuresShown = 5
)

// reader reads pages as a pod would: it takes the token from the Secret anew for every request.
type reader struct {
	secret func(context.Context) (*corev1.Secret, error)
	say    func(format string, args ...any)

	requests, failures int
	// tokens are all that were seen, in order; expiresAt is when the last one expires.
	tokens    []string
	expiresAt time.Time
	// leastLeft is the shortest life that a token had left when the next one was there.
	leastLeft time.Duration
}

// rotations is how often the token changed.
func (r *reader) rotations() int { return max(0, len(r.tokens)-1) }

// consume keeps reading pages until the token was rotated often enough.
func (d *demo) consume(ctx context.Context) error {
	var err error
	if d.reader, err = d.newReader(ctx, "consumer", "confluence-token"); err != nil {
		return err
	}
	d.Say("a consumer, which may read the Secret confluence-token and nothing else, reads pages every %s", readEvery)
	// The operator exchanges long before the end of a token's life.
	patience := time.Duration(d.rotations)*d.tokenLifetime + 30*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("fewer than %d rotations in %s", d.rotations, patience))
	defer cancel()
	if err := d.reader.readThrough(ctx, d.rotations); err != nil {
		return err
	}
	if r := d.reader; r.failures > 0 {
		return fmt.Errorf("%d of %d requests failed", r.failures, r.requests)
	}
	return nil
}

// newReader makes a reader of a Secret as a ServiceAccount, which may read no other.
func (d *demo) newReader(ctx context.Context, account, secret string) (*reader, error) {
	cfg, err := d.cluster.ServiceAccount(ctx, "reports", account, program.AccountLifetime)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1 // the apiserver sees to fairness
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", account, err)
	}
	secrets := clients.CoreV1().Secrets("reports")
	switch _, err := secrets.Get(ctx, "reports-keycard-app", metav1.GetOptions{}); {
	case err == nil:
		return nil, fmt.Errorf("%s may read the application's credential", account)
	case !apierrors.IsForbidden(err):
		return nil, fmt.Errorf("reading the application's credential, which has to be forbidden: %w", err)
	}
	return &reader{say: d.Say, secret: func(ctx context.Context) (*corev1.Secret, error) {
		return secrets.Get(ctx, secret, metav1.GetOptions{})
	}}, nil
}

// readThrough reads until the token was rotated often enough, and a little longer.
func (r *reader) readThrough(ctx context.Context, rotations int) error {
	ticker := time.NewTicker(readEvery)
	defer ticker.Stop()
	for after := 0; after < readsAfter; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		r.read(ctx)
		if r.rotations() >= rotations {
			after++
		}
	}
	return nil
}

// read makes one request and counts it.
func (r *reader) read(ctx context.Context) {
	token, err := r.token(ctx)
	if err == nil {
		var titles []string
		if titles, err = token.pages(ctx); err == nil && r.requests == 0 {
			r.say("its pages: %s", strings.Join(titles, ", "))
		}
	}
	if ctx.Err() != nil {
		return // cut off, which says nothing about the token
	}
	r.requests++
	if err != nil {
		if r.failures++; r.failures <= failuresShown {
			r.say("request %d failed: %v", r.requests, err)
		}
	}
}

// document is the part of token.json that a client needs.
type document struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"`
	BaseURL     string    `json:"base_url"`
}

// token reads the Secret, and takes note of a new token.
func (r *reader) token(ctx context.Context) (document, error) {
	secret, err := r.secret(ctx)
	if err != nil {
		return document{}, fmt.Errorf("reading the Secret: %w", err)
	}
	var t document
	if err := json.Unmarshal(secret.Data["token.json"], &t); err != nil {
		return document{}, errors.New("reading the Secret: token.json is no JSON") // the cause would quote it
	}
	if n := len(r.tokens); n == 0 || r.tokens[n-1] != t.AccessToken {
		left := time.Until(r.expiresAt)
		if n == 1 || n > 1 && left < r.leastLeft {
			r.leastLeft = left
		}
		r.tokens, r.expiresAt = append(r.tokens, t.AccessToken), t.ExpiresAt
		if n > 0 {
			r.say("rotation %d seen by the consumer, with %s of the old token left; %d requests so far, %d failures",
				n, seconds(left), r.requests, r.failures)
		}
	}
	return t, nil
}

// httpClient is for servers on this machine.
var httpClient = &http.Client{Timeout: 5 * time.Second}

// pages lists the titles of Confluence pages.
func (t document) pages(ctx context.Context) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.BaseURL+"/wiki/api/v2/pages?limit=5", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("listing pages: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+t.AccessToken)
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("listing pages: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listing pages: HTTP %d", resp.StatusCode)
	}
	var list struct {
		Results []struct {
			Title string `json:"title"`
		} `json:"results"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("listing pages: %w", err)
	}
	titles := make([]string, 0, len(list.Results))
	for _, page := range list.Results {
		titles = append(titles, page.Title)
	}
	return titles, nil
}
