// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzAssertion feeds client assertions: a refusal never quotes them, and what is
// accepted names an issuer and a subject.
func FuzzAssertion(f *testing.F) {
	for _, text := range []string{
		"", ".", "..", "a.b.c", "a.b.c.d.e", `{"payload":"e30","signatures":[]}`,
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIiwic3ViIjoiYiJ9.AAAA",
		"eyJhbGciOiJub25lIn0.eyJpc3MiOiJhIiwic3ViIjoiYiJ9.",
		"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIiwic3ViIjoiYiJ9.AAAA",
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOjF9.AAAA",
		"eyJhbGciOiJFUzI1NiIsImp3ayI6eyJrdHkiOiJPS1AifX0.e30.AAAA",
		"eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjFlMzAwfQ.AAAA",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAssertion(text)
		if err == nil {
			if a.claims.Issuer == "" || a.claims.Subject == "" {
				t.Fatal("accepted without iss and sub")
			}
			if a.verify(nil, []string{"a"}, time.Unix(0, 0)) == nil {
				t.Fatal("verified without a key")
			}
			return
		}
		e, ok := errors.AsType[*refusal](err)
		if !ok || e.Status != http.StatusUnauthorized || e.Code != "invalid_client" {
			t.Fatalf("refused with %v", err)
		}
		if len(text) > 8 && strings.Contains(e.Description, text) {
			t.Fatal("the refusal quotes the assertion")
		}
	})
}

// FuzzRedirectURI feeds redirect URIs.
func FuzzRedirectURI(f *testing.F) {
	for _, uri := range []string{"", "https://a.example/cb", "http://127.0.0.1:1/", "com.example.app:/cb", "javascript:alert(1)", "//a", "https://a#", "%"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		problem := redirectProblem(uri)
		if problem == "" && (strings.Contains(uri, "#") || strings.HasPrefix(strings.ToLower(uri), "javascript:") || len(uri) > maxRedirectURI) {
			t.Fatalf("accepted %q", uri)
		}
		if strings.ContainsFunc(problem, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("problem %q", problem)
		}
	})
}

// What was used once is refused until it expires, whatever else is remembered.
func TestReplays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r replays
		now := time.Unix(1000, 0)
		valid := map[string]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
			key := rapid.StringMatching("[a-e]").Draw(t, "key")
			expires := now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "life")) * time.Second)
			until, used := valid[key]
			fresh := !used || !now.Before(until)
			if got := r.add(key, expires, now); got != fresh {
				t.Fatalf("add(%q) is %t, want %t", key, got, fresh)
			}
			if fresh {
				valid[key] = expires
			}
		}
	})
}

func TestReplaysForgetWhatExpired(t *testing.T) {
	var r replays
	now := time.Unix(0, 0)
	for i := range 100_000 {
		now = now.Add(time.Second)
		if !r.add(string(rune(i))+now.String(), now.Add(time.Minute), now) {
			t.Fatal("refused a new one")
		}
	}
	if len(r.seen) > 2*firstSweep {
		t.Fatalf("%d are remembered", len(r.seen))
	}
}

func TestVerifier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verifier := rapid.String().Draw(t, "verifier")
		if err := checkVerifier("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", verifier, true); err == nil {
			t.Fatalf("accepted %q", verifier)
		}
	})
	if err := checkVerifier("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", true); err != nil {
		t.Fatal(err)
	}
}
