// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// TestTokenParameters sends each parameter of each grant repeated, empty, with
// odd bytes and too long. A parameter that is required is missed when empty, and
// the answer is always a refusal that does not repeat a secret.
func TestTokenParameters(t *testing.T) {
	z, c := person(t)
	refresh := text(z.redeem(z.code(c.Now(), nil)), "refresh_token")
	secret := url.Values{"client_id": {"reports"}, "client_secret": {"dev-only-reports-password"}}
	public := url.Values{"client_id": {"pub"}}
	grants := map[string]struct {
		client url.Values
		form   url.Values
		// missing is the description for each parameter that is required; the
		// others may be left out.
		missing map[string]string
		// odd and long are the error codes for a value of odd bytes and for one
		// that is very long.
		odd, long map[string]string
	}{
		"client_credentials": {
			secret,
			url.Values{"resource": {mine}, "scope": {"read"}},
			map[string]string{"resource": "resource is required"},
			map[string]string{"resource": "invalid_target", "scope": "invalid_scope"},
			map[string]string{"resource": "invalid_target"},
		},
		tokenExchange: {
			secret,
			extended(impersonation("alice@example.com", mine), "scope", "read", "requested_token_type", accessToken),
			map[string]string{"resource": "resource is required", "subject_token": "subject_token is required", "subject_token_type": "subject_token_type is required"},
			map[string]string{
				"resource": "invalid_target", "scope": "invalid_scope", "subject_token": "invalid_request",
				"subject_token_type": "invalid_request", "requested_token_type": "invalid_request", "grant_type": "unsupported_grant_type",
			},
			map[string]string{
				"resource": "invalid_target", "subject_token": "invalid_request", "subject_token_type": "invalid_request",
				"requested_token_type": "invalid_request",
			},
		},
		"authorization_code": {
			public,
			url.Values{"code": {"x"}, "redirect_uri": {callback}, "code_verifier": {verifier}},
			map[string]string{"code": "code is required"},
			map[string]string{"code": "invalid_grant"},
			map[string]string{"code": "invalid_grant"},
		},
		"refresh_token": {
			public,
			url.Values{"refresh_token": {refresh}, "scope": {"admin"}},
			map[string]string{"refresh_token": "refresh_token is required"},
			map[string]string{"refresh_token": "invalid_grant", "scope": "invalid_scope"},
			map[string]string{"refresh_token": "invalid_grant", "scope": "invalid_scope"},
		},
	}
	for grant, tt := range grants {
		full := url.Values{"grant_type": {grant}}
		maps.Copy(full, tt.client)
		maps.Copy(full, tt.form)
		send := func(t *testing.T, name string, values ...string) reply {
			form := maps.Clone(full)
			form[name] = values
			got := z.ask(form)
			NewWithT(t).Expect(got.Raw).NotTo(ContainSubstring("dev-only-reports-password"))
			return got
		}
		for name, values := range full {
			t.Run(grant+"/"+name, func(t *testing.T) {
				g := NewWithT(t)
				twice := send(t, name, values[0], values[0])
				g.Expect(twice.Status).To(Equal(400))
				g.Expect(twice).To(refused("invalid_request", "a parameter must be given once: "+name))
				if want, required := tt.missing[name]; required {
					g.Expect(send(t, name, "")).To(refused("invalid_request", want))
				}
				if code, strict := tt.odd[name]; strict {
					g.Expect(send(t, name, "\x00\xff\"é")).To(refused(code, ""))
				}
				if code, strict := tt.long[name]; strict {
					got := send(t, name, strings.Repeat("a", 40<<10))
					g.Expect(got).To(refused(code, ""))
					g.Expect(len(got.Raw)).To(BeNumerically("<", 2048), "the answer does not repeat it")
				}
			})
		}
		t.Run(grant+"/wrong client", func(t *testing.T) {
			g := NewWithT(t)
			for _, id := range []string{"nobody", "\x00", strings.Repeat("x", 40<<10)} {
				got := send(t, "client_id", id)
				g.Expect(got.Status).To(Equal(401), got.Raw)
				g.Expect(got.Body).To(HaveKeyWithValue("error", "invalid_client"))
			}
		})
	}
}

// extended returns the form with more parameters.
func extended(form url.Values, more ...string) url.Values {
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// An unknown client and a wrong secret give the same answer.
func TestUnknownClientLooksLikeAWrongSecret(t *testing.T) {
	g := NewWithT(t)
	z, _ := person(t)
	answer := func(id string) map[string]any {
		got := z.ask(url.Values{"grant_type": {clientCredentials}, "client_id": {id}, "client_secret": {"wrong"}})
		g.Expect(got.Status).To(Equal(401))
		delete(got.Body, "requestId")
		return got.Body
	}
	g.Expect(answer("nobody")).To(Equal(answer("reports")))
	g.Expect(answer("pub")).To(Equal(answer("reports")))
}
