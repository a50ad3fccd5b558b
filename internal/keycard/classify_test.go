// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
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
		"unsupported with a 5xx":  {answer(500, oauthError("unsupported_token_type")), keycard.Misconfigured, "unsupported_token_type: because", 0},
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
