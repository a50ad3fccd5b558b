// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command consumer calls Confluence ten times a second with the token of a mounted Secret, as an application
// would: it reads token.json for each request, and once more after a 401, 403 or 404. It prints a line for
// each token and for each failure, and one a second with its counts; never a token.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Line is what it prints.
type line struct {
	// Seen is when a token was read first, IssuedAt which one.
	Seen     time.Time `json:"seen,omitzero"`
	IssuedAt string    `json:"issuedAt,omitempty"`
	// Requests, Failures and Retries count since the start; a failure is a call that failed after its retry.
	Requests int    `json:"requests"`
	Failures int    `json:"failures"`
	Retries  int    `json:"retries"`
	Error    string `json:"error,omitempty"`
}

type token struct {
	AccessToken string `json:"access_token"`
	IssuedAt    string `json:"issued_at"`
	BaseURL     string `json:"base_url"`
}

var client = &http.Client{Timeout: 5 * time.Second}

func main() {
	out := json.NewEncoder(os.Stdout)
	file := filepath.Join(os.Getenv("TOKEN_DIR"), "token.json")
	var counts line
	last := ""
	for now := range time.Tick(100 * time.Millisecond) {
		counts.Requests++
		issued, err := call(file, &counts)
		report := counts
		if err != nil {
			counts.Failures++
			report.Failures, report.Error = counts.Failures, err.Error()
		} else if issued != last {
			report.Seen, report.IssuedAt, last = now, issued, issued
		}
		if report != counts || counts.Requests%10 == 0 {
			_ = out.Encode(report)
		}
	}
}

// call makes a request and tells of which time its token was.
func call(file string, counts *line) (string, error) {
	issued, status, err := once(file)
	if slices.Contains([]int{401, 403, 404}, status) {
		counts.Retries++
		issued, _, err = once(file)
	}
	return issued, err
}

func once(file string) (issued string, status int, err error) {
	raw, err := os.ReadFile(file) // #nosec G304,G703 -- the mounted file
	if err != nil {
		return "", 0, err
	}
	var t token
	if err := json.Unmarshal(raw, &t); err != nil {
		return "", 0, fmt.Errorf("reading %s: it is no JSON of %d bytes", file, len(raw))
	}
	request, err := http.NewRequest(http.MethodGet, t.BaseURL+"/wiki/api/v2/pages?limit=5", http.NoBody) //nolint:noctx // the client has a timeout
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Authorization", "Bearer "+t.AccessToken)
	answer, err := client.Do(request) // #nosec G704 -- the address is the operator's
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return "", answer.StatusCode, fmt.Errorf("HTTP %d with the token of %s", answer.StatusCode, t.IssuedAt)
	}
	return t.IssuedAt, answer.StatusCode, nil
}
