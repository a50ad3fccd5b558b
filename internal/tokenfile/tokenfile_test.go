// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenfile_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

var all = []tokenfile.Format{tokenfile.Header, tokenfile.Curl, tokenfile.Env, tokenfile.Properties}

func sample(token string) tokenfile.Token {
	issued := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	return tokenfile.Token{
		AccessToken: redacted.New(token), IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
		Scopes: []string{"read:confluence-content.all", "search:confluence"}, Resource: "https://api.atlassian.com/ex/confluence",
		SiteURL: "https://acme.atlassian.net", CloudID: "1111-2222", BaseURL: "https://api.atlassian.com/ex/confluence/1111-2222",
	}
}

// Every file, to the byte: clients depend on them.
func TestRender(t *testing.T) {
	got, err := tokenfile.Render(sample("to.ken"), all)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"token": "to.ken",
		"token.json": `{"access_token":"to.ken","token_type":"Bearer","issued_at":"2026-03-01T11:00:00Z","expires_at":"2026-03-01T12:00:00Z",` +
			`"expires_at_epoch":1772366400,"scope":"read:confluence-content.all search:confluence","resource":"https://api.atlassian.com/ex/confluence",` +
			`"site_url":"https://acme.atlassian.net","cloud_id":"1111-2222","base_url":"https://api.atlassian.com/ex/confluence/1111-2222"}` + "\n",
		"expires_at":       "2026-03-01T12:00:00Z",
		"expires_at_epoch": "1772366400",
		"issued_at":        "2026-03-01T11:00:00Z",
		"base_url":         "https://api.atlassian.com/ex/confluence/1111-2222",
		"cloud_id":         "1111-2222",
		"authorization":    "Bearer to.ken",
		"header":           "Authorization: Bearer to.ken\n",
		"curlrc":           "header = \"Authorization: Bearer to.ken\"\n",
		"env": "CONFLUENCE_TOKEN='to.ken'\nCONFLUENCE_TOKEN_EXPIRES_AT='2026-03-01T12:00:00Z'\n" +
			"CONFLUENCE_URL='https://api.atlassian.com/ex/confluence/1111-2222'\nCONFLUENCE_CLOUD_ID='1111-2222'\n",
		"atlassian.properties": "token=to.ken\nexpires_at=2026-03-01T12\\:00\\:00Z\n" +
			"url=https\\://api.atlassian.com/ex/confluence/1111-2222\ncloud_id=1111-2222\n",
	}
	for key, value := range want {
		if string(got[key]) != value {
			t.Errorf("%s is\n%q, want\n%q", key, got[key], value)
		}
	}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, tokenfile.Keys(all)) || len(keys) != len(want) {
		t.Errorf("keys are %v", keys)
	}
}

func TestKeysAreThoseOfRender(t *testing.T) {
	for _, formats := range [][]tokenfile.Format{nil, {tokenfile.Header}, {tokenfile.Env, tokenfile.Curl}, all} {
		data, err := tokenfile.Render(sample("x"), formats)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Sorted(maps.Keys(data)), tokenfile.Keys(formats); !slices.Equal(got, want) {
			t.Errorf("formats %v: rendered %v, listed %v", formats, got, want)
		}
	}
}

func TestRefusedTokens(t *testing.T) {
	for name, token := range map[string]string{
		"empty": "", "newline": "canary\nX-Evil: 1", "carriage return": "canary\r", "space": "can ary", "NUL": "canary\x00", "not ASCII": "canaryé", "DEL": "canary\x7f",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokenfile.Render(sample(token), all)
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("said %v", err)
			}
		})
	}
	if _, err := tokenfile.Render(sample("x"), []tokenfile.Format{"Netrc"}); err == nil {
		t.Error("an unknown format was rendered")
	}
}

// visible is any token that can be sent.
var visible = rapid.StringMatching(`[!-~]{1,200}`)

func TestParseReadsWhatRenderWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := sample(visible.Draw(t, "token"))
		data, err := tokenfile.Render(want, all)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tokenfile.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if !got.AccessToken.Equal(want.AccessToken) || !got.ExpiresAt.Equal(want.ExpiresAt) || !slices.Equal(got.Scopes, want.Scopes) ||
			got.BaseURL != want.BaseURL || got.SiteURL != want.SiteURL || got.Resource != want.Resource {
			t.Fatalf("got %+v", got)
		}
	})
}

// A shell reads back exactly the token, whatever is in it.
func TestShellReadsEnv(t *testing.T) {
	for _, token := range []string{"plain", `it's`, `$HOME`, "`id`", `a\b"c`, `!#%&*()[]{};<>?|~^`} {
		data, err := tokenfile.Render(sample(token), all)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `. /dev/stdin; printf %s "$CONFLUENCE_TOKEN"`)
		cmd.Stdin = strings.NewReader(string(data["env"]))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != token {
			t.Errorf("the shell read %q for %q: %v", out, token, err)
		}
	}
}

// curl's configuration and Java's properties, read by their rules.
func TestQuotedForms(t *testing.T) {
	unescape := func(s string) string {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if s[i] == '\\' {
				i++
			}
			b.WriteByte(s[i])
		}
		return b.String()
	}
	rapid.Check(t, func(t *rapid.T) {
		token := visible.Draw(t, "token")
		data, err := tokenfile.Render(sample(token), all)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSuffix(string(data["curlrc"]), "\n")
		quoted, ok := strings.CutPrefix(line, `header = "`)
		if !ok || !strings.HasSuffix(quoted, `"`) || unescape(quoted[:len(quoted)-1]) != "Authorization: Bearer "+token {
			t.Fatalf("curl reads %q for %q", line, token)
		}
		first, _, _ := strings.Cut(string(data["atlassian.properties"]), "\n")
		if unescape(strings.TrimPrefix(first, "token=")) != token {
			t.Fatalf("Java reads %q for %q", first, token)
		}
	})
}

func FuzzParse(f *testing.F) {
	good, err := tokenfile.Render(sample("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good["token.json"])
	f.Add([]byte(`{"access_token":"canary\n","issued_at":"2026-03-01T11:00:00Z","expires_at":"2026-03-01T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, err := tokenfile.Parse(map[string][]byte{"token.json": raw})
		if err != nil {
			return
		}
		if _, err := tokenfile.Render(token, all); err != nil {
			t.Errorf("parsed what can't be rendered: %v", err)
		}
	})
}
