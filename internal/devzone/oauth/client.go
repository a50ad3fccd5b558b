// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// client is an authenticated caller of the token endpoint.
type client struct {
	credential  store.Credential
	application store.Application
}

// authenticate finds the caller by client_secret_basic or client_secret_post.
func (s *server) authenticate(zoneID string, r *http.Request, f form) (client, error) {
	id, secret, err := presented(r, f)
	if err != nil {
		return client{}, err
	}
	var c client
	var known bool
	err = s.Store.Do(func(tx *store.Tx) error {
		if c.credential, known = tx.Credentials.Find(zoneID, id); !known {
			return nil
		}
		var err error
		c.application, err = tx.Applications.Get(zoneID, c.credential.ApplicationID)
		return err
	})
	if err != nil {
		return client{}, err
	}
	known = known && c.credential.Type == store.CredentialPassword
	// The comparison runs for unknown clients too, so that the time taken does
	// not tell them apart.
	if matches := c.credential.Password.Matches(secret); !known || !matches {
		return client{}, invalidClient("Unknown client or wrong client secret")
	}
	return c, nil
}

// presented reads the client's credentials, which must come in one way only
// (RFC 6749, section 2.3).
func presented(r *http.Request, f form) (id, secret string, err error) {
	header := r.Header.Get("Authorization")
	switch {
	case header != "" && (f["client_secret"] != "" || f["client_assertion"] != ""):
		return "", "", invalidRequest("the client must authenticate in one way only")
	case header != "":
		id, secret, err = basic(header)
		if err == nil && f["client_id"] != "" && f["client_id"] != id {
			err = invalidRequest("client_id differs from the one in the Authorization header")
		}
		return id, secret, err
	case f["client_assertion"] != "":
		return "", "", invalidClient("client_assertion is not supported: use client_secret_basic or client_secret_post")
	case f["client_id"] == "" || f["client_secret"] == "":
		return "", "", invalidClient("Client authentication is required: use client_secret_basic or client_secret_post")
	}
	return f["client_id"], f["client_secret"], nil
}

// basic decodes an Authorization header whose two parts are form-urlencoded
// before they are joined (RFC 6749, section 2.3.1).
func basic(header string) (id, secret string, err error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", invalidClient("the Authorization header must use the Basic scheme")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", invalidClient("the Authorization header is not base64")
	}
	first, second, ok := strings.Cut(string(raw), ":")
	id, err1 := url.QueryUnescape(first)
	secret, err2 := url.QueryUnescape(second)
	if !ok || err1 != nil || err2 != nil || id == "" {
		return "", "", invalidClient("the Authorization header must hold client_id:client_secret, each form-urlencoded")
	}
	return id, secret, nil
}
