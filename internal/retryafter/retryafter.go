// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package retryafter hands a pause that the Kubernetes API asks for to whoever made the request. client-go would sleep on it,
// up to ten times, and a worker that sleeps does nothing for anybody else.
package retryafter

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// short is the longest pause, in seconds, that is left to client-go: what an API server asks for under a passing load.
const short = 1

// Transport turns answers with a long Retry-After into errors that carry it: apierrors.SuggestsClientDelay finds it.
func Transport(next http.RoundTripper) http.RoundTripper { return transport{next} }

type transport struct{ next http.RoundTripper }

// RoundTrip makes the request once.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode < http.StatusInternalServerError {
		return answer, err
	}
	seconds, err := strconv.ParseInt(answer.Header.Get("Retry-After"), 10, 32)
	if err != nil || seconds <= short {
		return answer, nil //nolint:nilerr // no number is no pause that client-go would know
	}
	reason := metav1.StatusReasonServiceUnavailable
	if answer.StatusCode == http.StatusTooManyRequests {
		reason = metav1.StatusReasonTooManyRequests
	}
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(answer.StatusCode), Reason: reason, // #nosec G115 -- it has three digits
		Message: "the server asks to come back later", Details: &metav1.StatusDetails{RetryAfterSeconds: int32(seconds)},
	})
	if err != nil {
		return answer, nil //nolint:nilerr // plain text encodes
	}
	_ = answer.Body.Close() // its text says no more than its status
	answer.Header.Del("Retry-After")
	answer.Header.Set("Content-Type", "application/json")
	answer.Header.Del("Content-Encoding")
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}
