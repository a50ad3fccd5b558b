// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tokenfile lays a token out as the data of a Secret: one file per key, each for one kind of
// client. All files come from one token, so a reader that opens any of them gets a consistent one. The
// package does no I/O.
package tokenfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Keys that every Secret has.
const (
	// KeyToken is the bare token, without a newline.
	KeyToken = "token" // #nosec G101 -- the name of a key
	// KeyJSON is everything in one file, for clients that read it in one go.
	KeyJSON = "token.json"
	// KeyExpiresAt is the expiry as RFC 3339 in UTC.
	KeyExpiresAt = "expires_at"
	// KeyExpiresAtEpoch is the expiry in seconds since 1970.
	KeyExpiresAtEpoch = "expires_at_epoch"
	// KeyIssuedAt is when the token was received, as RFC 3339 in UTC.
	KeyIssuedAt = "issued_at"
	// KeyBaseURL is where the token works: https://api.atlassian.com/ex/confluence/<cloudID>.
	KeyBaseURL = "base_url"
	// KeyCloudID is Atlassian's id of the site.
	KeyCloudID = "cloud_id"
)

// Keys that formats add.
const (
	// KeyAuthorization is "Bearer <token>", without a newline.
	KeyAuthorization = "authorization"
	// KeyHeader is the whole header line, for curl -H @file.
	KeyHeader = "header"
	// KeyCurl is a configuration file for curl -K.
	KeyCurl = "curlrc"
	// KeyEnv are assignments for a POSIX shell.
	KeyEnv = "env"
	// KeyProperties are lines of key=value.
	KeyProperties = "atlassian.properties"
)

// Format is a form in which a client reads the token.
type Format string

// The formats. Their names are those of the API.
const (
	Header     Format = "Header"
	Curl       Format = "Curl"
	Env        Format = "Env"
	Properties Format = "Properties"
)

// Token is what the files tell.
type Token struct {
	AccessToken redacted.String
	// IssuedAt and ExpiresAt are whole seconds.
	IssuedAt, ExpiresAt time.Time
	Scopes              []string
	// Resource is the identifier the token was exchanged for.
	Resource string
	// SiteURL, CloudID and BaseURL say which Atlassian site the token is for and where it works.
	SiteURL, CloudID, BaseURL string
}

// document is token.json. Clients depend on its names.
type document struct {
	AccessToken    string `json:"access_token"`
	TokenType      string `json:"token_type"`
	IssuedAt       string `json:"issued_at"`
	ExpiresAt      string `json:"expires_at"`
	ExpiresAtEpoch int64  `json:"expires_at_epoch"`
	Scope          string `json:"scope"`
	Resource       string `json:"resource"`
	SiteURL        string `json:"site_url"`
	CloudID        string `json:"cloud_id"`
	BaseURL        string `json:"base_url"`
}

// Render gives the data of the Secret: the keys that are always there, and those of the formats. It
// refuses a token with characters that no bearer token has (RFC 6750 section 2.1), because a newline in
// it would forge a header in every client.
func Render(t Token, formats []Format) (map[string][]byte, error) {
	token := t.AccessToken.Reveal()
	if err := checkToken(token); err != nil {
		return nil, err
	}
	expires := t.ExpiresAt.UTC().Format(time.RFC3339)
	doc, err := json.Marshal(document{ //nolint:gosec // the Secret is where the token belongs
		AccessToken: token, TokenType: "Bearer",
		IssuedAt: t.IssuedAt.UTC().Format(time.RFC3339), ExpiresAt: expires, ExpiresAtEpoch: t.ExpiresAt.Unix(),
		Scope: strings.Join(t.Scopes, " "), Resource: t.Resource,
		SiteURL: t.SiteURL, CloudID: t.CloudID, BaseURL: t.BaseURL,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", KeyJSON, err)
	}
	files := map[string]string{
		KeyToken:          token,
		KeyJSON:           string(doc) + "\n",
		KeyExpiresAt:      expires,
		KeyExpiresAtEpoch: strconv.FormatInt(t.ExpiresAt.Unix(), 10),
		KeyIssuedAt:       t.IssuedAt.UTC().Format(time.RFC3339),
		KeyBaseURL:        t.BaseURL,
		KeyCloudID:        t.CloudID,
	}
	for _, f := range formats {
		extra, err := renderFormat(t, f)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, extra)
	}
	data := make(map[string][]byte, len(files))
	for k, v := range files {
		data[k] = []byte(v)
	}
	return data, nil
}

func renderFormat(t Token, f Format) (map[string]string, error) {
	token, expires := t.AccessToken.Reveal(), t.ExpiresAt.UTC().Format(time.RFC3339)
	switch f {
	case Header:
		return map[string]string{
			KeyAuthorization: "Bearer " + token,
			KeyHeader:        "Authorization: Bearer " + token + "\n",
		}, nil
	case Curl:
		return map[string]string{KeyCurl: "header = " + curlQuote("Authorization: Bearer "+token) + "\n"}, nil
	case Env:
		return map[string]string{KeyEnv: "CONFLUENCE_TOKEN=" + shellQuote(token) + "\n" +
			"CONFLUENCE_TOKEN_EXPIRES_AT=" + shellQuote(expires) + "\n" +
			"CONFLUENCE_URL=" + shellQuote(t.BaseURL) + "\n" +
			"CONFLUENCE_CLOUD_ID=" + shellQuote(t.CloudID) + "\n"}, nil
	case Properties:
		return map[string]string{KeyProperties: "token=" + propertyEscape(token) + "\n" +
			"expires_at=" + propertyEscape(expires) + "\n" +
			"url=" + propertyEscape(t.BaseURL) + "\n" +
			"cloud_id=" + propertyEscape(t.CloudID) + "\n"}, nil
	}
	return nil, fmt.Errorf("unknown format %q", f)
}

// Keys lists, sorted, the keys that Render writes for the formats.
func Keys(formats []Format) []string {
	keys := []string{KeyToken, KeyJSON, KeyExpiresAt, KeyExpiresAtEpoch, KeyIssuedAt, KeyBaseURL, KeyCloudID}
	for _, f := range formats {
		switch f {
		case Header:
			keys = append(keys, KeyAuthorization, KeyHeader)
		case Curl:
			keys = append(keys, KeyCurl)
		case Env:
			keys = append(keys, KeyEnv)
		case Properties:
			keys = append(keys, KeyProperties)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Parse reads back what Render wrote, so that the files can be laid out anew without another exchange.
// Its errors name keys, never values.
func Parse(data map[string][]byte) (Token, error) {
	raw, ok := data[KeyJSON]
	if !ok {
		return Token{}, fmt.Errorf("key %s is missing", KeyJSON)
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Token{}, fmt.Errorf("key %s is not the JSON the operator writes", KeyJSON)
	}
	issued, err := time.Parse(time.RFC3339, doc.IssuedAt)
	if err != nil {
		return Token{}, fmt.Errorf("key %s: issued_at is not an RFC 3339 time", KeyJSON)
	}
	expires, err := time.Parse(time.RFC3339, doc.ExpiresAt)
	if err != nil {
		return Token{}, fmt.Errorf("key %s: expires_at is not an RFC 3339 time", KeyJSON)
	}
	if err := checkToken(doc.AccessToken); err != nil {
		return Token{}, fmt.Errorf("key %s: %w", KeyJSON, err)
	}
	return Token{
		AccessToken: redacted.New(doc.AccessToken), IssuedAt: issued, ExpiresAt: expires,
		Scopes: strings.Fields(doc.Scope), Resource: doc.Resource,
		SiteURL: doc.SiteURL, CloudID: doc.CloudID, BaseURL: doc.BaseURL,
	}, nil
}

// checkToken admits visible ASCII only. That is wider than RFC 6750's b64token, because upstream
// providers are, and narrow enough for a header.
func checkToken(token string) error {
	if token == "" {
		return fmt.Errorf("the access token is empty")
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("the access token has a space, a control character or a non-ASCII character at position %d", i)
		}
	}
	return nil
}

// shellQuote quotes for a POSIX shell: single quotes keep everything but a single quote.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// curlQuote quotes for curl's configuration file, where backslash escapes within double quotes.
func curlQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// propertyEscape escapes for a Java properties file.
func propertyEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "=", `\=`, ":", `\:`, "#", `\#`, "!", `\!`).Replace(s)
}
