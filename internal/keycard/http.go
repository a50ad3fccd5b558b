// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// maxBody bounds what is read of an answer. The largest legitimate one is a page of 100 objects.
const maxBody = 1 << 20

var errBodyTooLarge = errors.New("the answer is larger than 1 MiB")

// transport sends one request and judges the answer.
type transport struct {
	http    *http.Client
	options Options
	// management is true for the transport of a management API, whose errors say so.
	management bool
}

// call is one request.
type call struct {
	op     string
	method string
	url    string
	header http.Header
	body   []byte
	// secrets are the credentials that the request carries: an answer that echoes one must not bring it
	// into an error text.
	secrets []redacted.String
}

// answer is a response whose body was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do returns an answer with a 2xx status, or an *Error.
func (t *transport) do(ctx context.Context, c call) (answer, error) {
	a, err := t.roundTrip(ctx, c)
	return a, t.signed(err)
}

// signed notes in an error which API it is of.
func (t *transport) signed(err error) error {
	if e, ok := AsError(err); ok {
		e.Management = t.management
	}
	return err
}

func (t *transport) roundTrip(ctx context.Context, c call) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(c.body))
	if err != nil {
		return answer{}, misconfigured(c.op, "the URL is not valid")
	}
	maps.Copy(req.Header, c.header)
	t.options.identify(req)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return answer{}, connectionError(ctx, c.op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readBody(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, body: body}
	switch {
	case a.status >= 300 && a.status < 400:
		return answer{}, redirectError(c.op, a)
	case err != nil:
		return answer{}, t.brokenBodyError(ctx, c, a, err)
	case a.status >= 400:
		return answer{}, t.answerError(c, a)
	}
	return a, nil
}

// doJSON decodes the answer into out.
func (t *transport) doJSON(ctx context.Context, c call, out any) error {
	a, err := t.do(ctx, c)
	if err != nil {
		return err
	}
	if json.Unmarshal(a.body, out) != nil {
		return t.signed(malformedError(c.op, a))
	}
	return nil
}

func readBody(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, errBodyTooLarge
	}
	return body, nil
}

// brokenBodyError judges an answer whose body could not be read whole. An error status still decides.
func (t *transport) brokenBodyError(ctx context.Context, c call, a answer, err error) *Error {
	e := connectionError(ctx, c.op, err)
	if errors.Is(err, errBodyTooLarge) {
		e.Description = err.Error()
	}
	if a.status >= 400 {
		description := e.Description
		e = newAnswerError(c, a, errorBody{}, t.options.Now())
		e.Description, e.Err = description, err
	}
	e.Status, e.foreign = a.status, true
	return e
}

// answerError judges an answer with a 4xx or 5xx status.
func (t *transport) answerError(c call, a answer) *Error {
	body := parseErrorBody(a.body)
	e := newAnswerError(c, a, body, t.options.Now())
	if !body.isObject && len(a.body) > 0 {
		e.foreign = true
		e.Description = describeBody(a)
	}
	return e
}

// newAnswerError builds the error for an answer that carries an error body, whatever its status.
func newAnswerError(c call, a answer, body errorBody, now time.Time) *Error {
	pause, asked := retryAfter(a.header, now)
	e := &Error{
		Op:          c.op,
		Status:      a.status,
		Code:        cleanCode(body.code, c.secrets),
		Description: cleanDescription(body.description, c.secrets),
		RequestID:   cleanRequestID(firstNonEmpty(body.requestID, a.header.Get("X-Request-Id")), c.secrets),
		RetryAfter:  pause,
	}
	e.Class = classify(e.Status, e.Code, asked)
	return e
}

// errorBody is what the OAuth error (RFC 6749 section 5.2) and the management API's error have in common.
type errorBody struct {
	code, description, requestID string
	isObject                     bool
}

// parseErrorBody reads {"error", "error_description", "requestId"} or {"code", "message"}. Fields of
// another type than string are ignored, and a body that is not a JSON object gives the zero value.
func parseErrorBody(body []byte) errorBody {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return errorBody{}
	}
	text := func(name string) string {
		var s string
		if json.Unmarshal(fields[name], &s) != nil {
			return ""
		}
		return s
	}
	return errorBody{
		isObject:    true,
		code:        firstNonEmpty(text("error"), text("code")),
		description: firstNonEmpty(text("error_description"), text("message")),
		requestID:   firstNonEmpty(text("requestId"), text("request_id")),
	}
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// malformedError judges a successful answer whose body is not the expected JSON. Another media type is
// most likely a wrong URL, such as a console or a sign-in page in front of the API, which no retry
// heals: Misconfigured. Broken JSON is a fault on the way: Transient.
func malformedError(op string, a answer) *Error {
	e := &Error{Op: op, Status: a.status, Class: Transient, Description: describeBody(a)}
	if len(a.body) > 0 && foreignMediaType(a) != "" {
		e.Class, e.foreign = Misconfigured, true
	}
	return e
}

// describeBody says what a body is that is not the expected JSON.
func describeBody(a answer) string {
	if len(a.body) == 0 {
		return "answered an empty body instead of JSON"
	}
	name := foreignMediaType(a)
	switch {
	case name == "":
		return "answered malformed JSON"
	case a.status >= 500:
		return "answered " + name + " instead of JSON"
	default:
		return "answered " + name + " instead of JSON; is the URL right?"
	}
}

// foreignMediaType names the media type of an answer that is not meant to be JSON, or returns "".
func foreignMediaType(a answer) string {
	header := a.header.Get("Content-Type")
	sniffed := header == ""
	if sniffed {
		header = http.DetectContentType(a.body)
	}
	name, _, err := mime.ParseMediaType(header)
	switch {
	case err != nil || cleanCode(name, nil) == "":
		return "another media type"
	case name == "application/json", strings.HasSuffix(name, "+json"):
		return ""
	case sniffed && name != "text/html":
		return "" // JSON that breaks off is sniffed as plain text
	default:
		return name
	}
}

// redirectError names the host a redirect points to, and no more: the rest of a Location may carry state.
func redirectError(op string, a answer) *Error {
	e := &Error{
		Op: op, Status: a.status, Class: Misconfigured, foreign: true,
		Description: "answered a redirect, which is not followed; is the URL right?",
	}
	if to, err := url.Parse(a.header.Get("Location")); err == nil && to.Hostname() != "" {
		e.Description = "redirects to host " + cleanDescription(to.Hostname(), nil) +
			", which is not followed; is the URL right?"
	}
	return e
}
