// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// readEvery is how often the consumer reads pages.
const readEvery = 200 * time.Millisecond

// readsAfter is how many reads follow the last rotation.
const readsAfter = 10

// reader reads pages as a pod would: it takes the token from the Secret anew for every request.
type reader struct {
	secrets *kubernetes.Clientset

	requests, failures int
	firstFailure       error
	// tokens are all that were seen; titles are from the last answer.
	tokens map[string]bool
	titles []string
	// leastLeft is the shortest life that a token had left when it was used.
	leastLeft time.Duration
}

// consume keeps reading until the token was rotated often enough.
func (d *demo) consume(ctx context.Context) error {
	cfg, err := d.cluster.ServiceAccount(ctx, "reports", "consumer", time.Hour)
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making the consumer's client: %w", err)
	}
	r := &reader{secrets: clients, tokens: map[string]bool{}, leastLeft: d.tokenLifetime}
	d.say("a consumer reads pages every %s, through %d rotations", readEvery, d.rotations)
	if err := d.readThroughRotations(ctx, r); err != nil {
		return err
	}
	d.say("%d requests, %d failures, %d rotations; no token was used with less than %s of its %s left",
		r.requests, r.failures, len(r.tokens)-1, r.leastLeft.Round(100*time.Millisecond), d.tokenLifetime)
	if r.failures > 0 {
		return fmt.Errorf("%d of %d reads failed, the first with: %w", r.failures, r.requests, r.firstFailure)
	}
	return d.remember(r)
}

func (d *demo) readThroughRotations(ctx context.Context, r *reader) error {
	patience := time.Duration(d.rotations+2) * d.tokenLifetime
	timeout := time.After(patience)
	ticker := time.NewTicker(readEvery)
	defer ticker.Stop()
	for seen, after := 0, 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("saw %d rotations in %s, wanted %d", len(r.tokens)-1, patience, d.rotations)
		case <-ticker.C:
		}
		r.read(ctx)
		if n := len(r.tokens); n > seen {
			seen = n
			if n == 1 {
				d.say("pages: %s", strings.Join(r.titles, ", "))
			} else {
				d.say("rotation %d: %d requests so far, %d failures", n-1, r.requests, r.failures)
			}
		}
		// A few reads after the last rotation show that its token works.
		if len(r.tokens) > d.rotations {
			if after++; after > readsAfter {
				return nil
			}
		}
	}
}

// read makes one request and counts it.
func (r *reader) read(ctx context.Context) {
	r.requests++
	if err := r.list(ctx); err != nil && ctx.Err() == nil {
		r.failures++
		r.firstFailure = errors.Join(r.firstFailure, err)
	}
}

func (r *reader) list(ctx context.Context) error {
	secret, err := r.secrets.CoreV1().Secrets("reports").Get(ctx, "confluence-token", metav1.GetOptions{})
	if err != nil {
		return err
	}
	var token struct {
		AccessToken string    `json:"access_token"`
		ExpiresAt   time.Time `json:"expires_at"`
		BaseURL     string    `json:"base_url"`
	}
	if err := json.Unmarshal(secret.Data["token.json"], &token); err != nil {
		return fmt.Errorf("reading token.json: %w", err)
	}
	r.tokens[token.AccessToken] = true
	r.leastLeft = min(r.leastLeft, time.Until(token.ExpiresAt))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, token.BaseURL+"/wiki/api/v2/pages?limit=5", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("listing pages: HTTP %d", resp.StatusCode)
	}
	var list struct {
		Results []struct {
			Title string `json:"title"`
		} `json:"results"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return fmt.Errorf("reading the list of pages: %w", err)
	}
	r.titles = nil
	for _, page := range list.Results {
		r.titles = append(r.titles, page.Title)
	}
	return nil
}

// remember keeps the tokens for the search of the logs.
func (d *demo) remember(r *reader) error {
	for token := range r.tokens {
		d.tokens = append(d.tokens, token)
	}
	if len(d.tokens) == 0 {
		return errors.New("no token was seen")
	}
	return nil
}

// searchLogs looks for secrets in the logs of the operator, of devzone and of the apiserver.
func (d *demo) searchLogs(context.Context) error {
	secrets := d.tokens
	for _, pair := range credentials {
		secrets = append(secrets, pair[1])
	}
	logs, err := filepath.Glob(filepath.Join(d.dir, "*.log"))
	if err != nil || len(logs) == 0 {
		return fmt.Errorf("finding the logs in %s: %w", d.dir, err)
	}
	for _, path := range logs {
		raw, err := os.ReadFile(path) //nolint:gosec // the demo's own folder
		if err != nil {
			return fmt.Errorf("reading a log: %w", err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(raw), secret) {
				return fmt.Errorf("a secret is in %s", filepath.Base(path))
			}
		}
	}
	d.say("none of %d secrets and tokens is in %d logs", len(secrets), len(logs))
	return nil
}
