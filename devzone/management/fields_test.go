// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// FuzzObjects feeds bodies to every reader: none may panic, a refusal must be a
// client error with a text, and an accepted object must keep the rules.
func FuzzObjects(f *testing.F) {
	for _, body := range []string{
		`{"identifier":"i","name":"n"}`,
		`{"identifier":"i","name":"n","description":null,"metadata":{"docs_url":"https://d.example"}}`,
		`{"identifier":"i","name":"n","protocols":{"oauth2":{"token_endpoint":"https://t.example","scopes_supported":["a"],"authorization_parameters":{"a":"b"}},"openid":{}}}`,
		`{"identifier":"i","name":"n","protocols":{"oauth2":null}}`,
		`{"identifier":"i","name":"n","scopes":["a"],"prefix":true,"credential_lifetime_seconds":60}`,
		`{"application_id":"a","type":"token","provider_id":"p","subject":null}`,
		`{"name":"z","encryption_key":{"arn":"a","type":"aws"},"protocols":{"oauth2":{"dcr_enabled":false}}}`,
		`{"a":[1,{"b":null}]}`, `[]`, `null`, `{`, `"\ud800"`, "",
	} {
		f.Add([]byte(body))
	}
	st := store.New(time.Now)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseObject(data); err != nil {
			checkRefusal(t, err)
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		_ = st.Do(func(tx *store.Tx) error {
			c := &call{tx: tx}
			var p store.Provider
			if accepted(t, data, providers.fields(c, &p, true)) {
				checkNames(t, p.Identifier, p.Name)
			}
			var r store.Resource
			if accepted(t, data, resources.fields(c, &r, true)) {
				checkNames(t, r.Identifier, r.Name)
			}
			var a store.Application
			if accepted(t, data, applications.fields(c, &a, true)) {
				checkNames(t, a.Identifier, a.Name)
			}
			var z store.Zone
			if accepted(t, data, zones.fields(c, &z, true)) {
				checkNames(t, "-", z.Name)
			}
			var x store.Credential
			if accepted(t, data, credentials.fields(c, &x, true)) {
				t.Fatal("accepted a credential of an application that does not exist")
			}
			return nil
		})
	})
}

func accepted(t *testing.T, data []byte, f fields) bool {
	o, err := parseObject(data)
	if err != nil {
		t.Fatalf("parsing differs between calls: %v", err)
	}
	f.read(o)
	if err := o.err(); err != nil {
		checkRefusal(t, err)
		return false
	}
	return true
}

func checkRefusal(t *testing.T, err error) {
	if e := asAPIError(err); e.Status != http.StatusBadRequest || e.Message == "" {
		t.Fatalf("refused with %+v", e)
	}
}

func checkNames(t *testing.T, identifier, name string) {
	if n := utf8.RuneCountInString(identifier); n < 1 || n > maxIdentifier {
		t.Fatalf("identifier of %d characters", n)
	}
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || strings.ContainsAny(name, "\x00\n") {
		t.Fatalf("name %q", name)
	}
}
