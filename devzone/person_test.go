// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/clock"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// Values of a public client's authorize request.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	callback  = "http://127.0.0.1:8765/callback"
	mine      = "https://mine.example.com"
)

// change runs f against the server's tables.
func (z *zone) change(f func(tx *store.Tx) error) {
	z.t.Helper()
	if err := z.Store().Do(f); err != nil {
		z.t.Fatalf("changing the store: %v", err)
	}
}

// app returns the id of the seeded application.
func (z *zone) app() string {
	z.t.Helper()
	return z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
}

// credential gives the seeded application one more credential.
func (z *zone) credential(fields map[string]any) {
	z.t.Helper()
	fields["application_id"] = z.app()
	z.must("POST", "/application-credentials", fields)
}

// signIn starts a browser session of a person.
func (z *zone) signIn(email string, now time.Time) (session store.Session) {
	z.t.Helper()
	z.change(func(tx *store.Tx) error {
		user, _ := tx.Users.Find(z.ZoneID, email)
		var err error
		session, err = tx.Sessions.Insert(store.Session{
			Meta: store.Meta{ZoneID: z.ZoneID}, Type: store.SessionUser, UserID: user.ID, Status: store.SessionActive,
			AuthenticatedAt: now, ExpiresAt: now.Add(8 * time.Hour), Cookie: store.DigestOf(store.NewSecret()),
		})
		return err
	})
	return session
}

// code makes the authorization code of a public client's authorize request for a
// person who just signed in.
func (z *zone) code(now time.Time, change func(c *store.Code)) string {
	z.t.Helper()
	parent := z.signIn("alice@example.com", now)
	value := store.NewSecret()
	z.change(func(tx *store.Tx) error {
		code := store.Code{
			Meta: store.Meta{ZoneID: z.ZoneID}, Value: store.DigestOf(value), ClientID: "pub", ApplicationID: "",
			UserID: parent.UserID, SessionID: parent.ID, RedirectURI: callback, Challenge: challenge,
			Scopes: []string{"openid", "email", "read"}, Resources: []string{mine}, Nonce: "n-1", ExpiresAt: now.Add(time.Minute),
		}
		if change != nil {
			change(&code)
		}
		_, err := tx.Codes.Insert(code)
		return err
	})
	return value
}

// redeem asks for the tokens of a code as the public client; more are pairs of
// parameters, where an empty value leaves one out.
func (z *zone) redeem(code string, more ...string) reply {
	z.t.Helper()
	return z.ask(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"pub"}, "code": {code},
		"redirect_uri": {callback}, "code_verifier": {verifier},
	}, more...)
}

func (z *zone) renew(token string, more ...string) reply {
	z.t.Helper()
	return z.ask(url.Values{"grant_type": {"refresh_token"}, "client_id": {"pub"}, "refresh_token": {token}}, more...)
}

func (z *zone) ask(form url.Values, more ...string) reply {
	z.t.Helper()
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return z.form(z.ZoneURL+"/oauth/2/token", form)
}

// person is a zone with a public client of the seeded application, which
// provides a resource.
func person(t *testing.T) (*zone, *clock.Clock) {
	t.Helper()
	c := clock.New()
	z := start(t, devzone.Config{Clock: c.Now})
	z.credential(map[string]any{"type": "public", "identifier": "pub"})
	z.own(mine, true, map[string]any{"scopes": []string{"read", "write"}})
	return z, c
}

// userinfo asks about the person behind an access token.
func (z *zone) userinfo(token string) reply {
	z.t.Helper()
	req := z.request(http.MethodGet, z.ZoneURL+"/openidconnect/userinfo", nil)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return z.do(req)
}

func text(r reply, name string) string { s, _ := r.Body[name].(string); return s }

// refused matches the answer of a refusal.
func refused(code, description string) OmegaMatcher {
	return WithTransform(func(r reply) map[string]any { return r.Body },
		And(HaveKeyWithValue("error", code), HaveKeyWithValue("error_description", ContainSubstring(description))))
}
