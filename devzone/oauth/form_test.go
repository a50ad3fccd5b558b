// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// FuzzForm feeds bodies to the form parser: it never panics, refuses with an
// OAuth error that does not quote values, and what it accepts is what was sent.
func FuzzForm(f *testing.F) {
	for _, body := range []string{
		"", "grant_type=client_credentials&resource=r", "a=1&a=2", "a=%zz", "a;b", "scope=a+b%20c", "=x", "a=&b", "%00=%ff",
		"client_secret=s3cret&client_secret=s3cret",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := parseForm(body)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		values, err := url.ParseQuery(body)
		if err != nil {
			t.Fatal("accepted a malformed form")
		}
		for name, list := range values {
			if len(list) != 1 || (list[0] != "" && got[name] != list[0]) {
				t.Fatalf("parameter %q is %q, sent %q", name, got[name], list)
			}
		}
		scopes, err := got.scopes()
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, s := range scopes {
			if s == "" || strings.ContainsAny(s, " \"\\") {
				t.Fatalf("scope %q", s)
			}
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok || e.Status != http.StatusBadRequest || e.Code == "" {
		t.Fatalf("refused with %v", err)
	}
	if strings.ContainsFunc(e.Description, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Fatalf("description %q", e.Description)
	}
}

// FuzzBasic feeds Authorization headers.
func FuzzBasic(f *testing.F) {
	for _, header := range []string{"", "Basic", "Basic YTpi", "basic YTpi", "Bearer x", "Basic !!", "Basic Og==", "Basic JXp6OmE="} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, err := basic(header)
		if err == nil && (got.id == "" || got.decoded != nil && got.decoded.id == "") {
			t.Fatal("accepted an empty client_id")
		}
		if e, ok := errors.AsType[*refusal](err); err != nil && (!ok || e.Status != http.StatusUnauthorized) {
			t.Fatalf("refused with %v", err)
		}
	})
}

// FuzzSubstituteUser feeds subject tokens.
func FuzzSubstituteUser(f *testing.F) {
	f.Add("eyJ0eXAiOiJ2bmQua2Muc3Urand0IiwiYWxnIjoibm9uZSJ9.eyJzdWIiOiJhIn0.")
	f.Add("a.b.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		user, err := parseSubstituteUser(token)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if user == "" || !strings.HasSuffix(token, ".") {
			t.Fatalf("accepted %q as %q", token, user)
		}
	})
}

func TestBasicRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, 40, -1).Draw(t, "id")
		secret := rapid.String().Draw(t, "secret")
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		got, err := basic(r.Header.Get("Authorization"))
		read := pair{got.id, got.secret}
		if got.decoded != nil {
			read = *got.decoded
		}
		if err != nil || read != (pair{id, secret}) {
			t.Fatalf("%q:%q came back as %+v, %v", id, secret, read, err)
		}
	})
}

func TestResolve(t *testing.T) {
	resources := []store.Resource{
		{Identifier: "https://a.example", Prefix: true},
		{Identifier: "https://a.example/v1", Prefix: true},
		{Identifier: "https://a.example/exact"},
		{Identifier: "https://b.example/", Prefix: true},
		{Identifier: "urn:c"},
	}
	tests := map[string]string{
		"https://a.example":            "https://a.example",
		"https://a.example/":           "https://a.example",
		"https://a.example?q":          "https://a.example",
		"https://a.example#f":          "https://a.example",
		"https://a.example:8443":       "",
		"https://a.example.evil":       "",
		"https://a.example/v1":         "https://a.example/v1",
		"https://a.example/v1/x":       "https://a.example/v1",
		"https://a.example/v12":        "https://a.example",
		"https://a.example/exact":      "https://a.example/exact",
		"https://a.example/exact/more": "https://a.example",
		"https://b.example/x":          "https://b.example/",
		"https://b.example":            "",
		"urn:c":                        "urn:c",
		"urn:c/x":                      "",
		"":                             "",
	}
	for requested, want := range tests {
		t.Run(requested, func(t *testing.T) {
			got, ok := match(requested, func(identifier string) (store.Resource, bool) {
				i := slices.IndexFunc(resources, func(r store.Resource) bool { return r.Identifier == identifier })
				if i < 0 {
					return store.Resource{}, false
				}
				return resources[i], true
			})
			if got.Identifier != want || ok != (want != "") {
				t.Errorf("resolved to %q, want %q", got.Identifier, want)
			}
		})
	}
}
