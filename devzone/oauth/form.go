// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// maxForm is the largest token request in bytes.
const maxForm = 64 << 10

// form holds the parameters of a token request, each of which is there once.
type form map[string]string

// readForm reads a token request (RFC 6749, section 3.2): form-encoded, in the
// body only, and without repeated parameters.
func readForm(r *http.Request) (form, error) {
	if r.URL.RawQuery != "" {
		return nil, invalidRequest("parameters must be in the body, not in the URL")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, invalidRequest("Content-Type must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxForm))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, invalidRequest("the body is larger than %d bytes", maxForm)
	}
	if err != nil {
		return nil, invalidRequest("the body could not be read")
	}
	return parseForm(string(body))
}

func parseForm(body string) (form, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		// The parser's error quotes the body.
		return nil, invalidRequest("the body is not form-encoded")
	}
	f := form{}
	for name, list := range values {
		if len(list) != 1 {
			return nil, invalidRequest("a parameter must be given once: %s", printable(name))
		}
		// RFC 6749, section 3.1: a parameter without a value counts as absent.
		if list[0] != "" {
			f[name] = list[0]
		}
	}
	return f, nil
}

// scopes reads the scope parameter (RFC 6749, section 3.3).
func (f form) scopes() ([]string, error) {
	bad := func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r > '~' }
	if strings.ContainsFunc(f["scope"], bad) {
		return nil, refuse("invalid_scope", "scope holds a character that RFC 6749 does not permit")
	}
	return strings.Fields(f["scope"]), nil
}

// shortened keeps a value that an error text quotes from growing beyond measure.
func shortened(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// printable keeps a parameter's name fit for an error text.
func printable(s string) string {
	return strings.NewReplacer(`"`, "?", `\`, "?").Replace(wire.Clean(s, 64))
}
