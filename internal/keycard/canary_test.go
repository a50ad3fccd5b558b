// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// canaries are all secrets in the forms in which they travel.
func canaries() []string {
	var forms []string
	for _, secret := range []string{
		clientSecret, managementToken, upstreamSecret, subjectToken, workloadJWT, issuedToken, issuedRefresh, refreshTokenSent,
	} {
		forms = append(forms, secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte("sa-1:"+secret)))
	}
	return forms
}

// renderings are the ways in which a value may end up in a log, an event or a status.
func renderings(t *testing.T, v any) []string {
	t.Helper()
	texts := []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%q", v)}
	if encoded, err := json.Marshal(v); err == nil {
		texts = append(texts, string(encoded))
	}
	return texts
}

func expectNoCanary(t *testing.T, v any) {
	t.Helper()
	for _, text := range renderings(t, v) {
		for _, canary := range canaries() {
			if strings.Contains(text, canary) {
				t.Errorf("%q shows in %s", canary, text)
			}
		}
	}
}

// echo answers every request with everything it was sent, in all the places an error is read from.
func echo(status int, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sent := r.Header.Get("Authorization") + " " + r.URL.RawQuery + " " + r.Header.Get("X-Body")
		body, _ := json.Marshal(map[string]any{
			"error": sent, "error_description": sent + " <b>" + sent + "</b>", "message": sent, "code": sent, "requestId": sent,
			"issuer": sent, "token_type": sent, "issued_token_type": sent, "expires_in": sent,
		})
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Request-Id", strings.TrimPrefix(sent, "Bearer "))
		w.Header().Set("Location", "https://"+issuedToken+"@elsewhere.example/"+sent)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// echoServer makes the request's body available to echo, which runs after it was read.
func echoServer(t *testing.T, s *server, status int, contentType string) {
	t.Helper()
	handler := echo(status, contentType)
	s.on("", func(w http.ResponseWriter, r *http.Request) {
		all := s.requests("")
		last := all[len(all)-1]
		form, _ := url.ParseQuery(last.body)
		r.Header.Set("X-Body", last.body+" "+strings.Join([]string{
			form.Get("subject_token"), form.Get("client_assertion"), form.Get("refresh_token"),
		}, " "))
		handler(w, r)
	})
}

var workload = keycard.JWTBearerAssertion{Assertion: redacted.New(workloadJWT)}

var managementCalls = map[string]func(*keycard.ManagementClient) error{
	"GetZone": func(m *keycard.ManagementClient) error { _, err := m.GetZone(context.Background(), "z1"); return err },
	"FindProvider": func(m *keycard.ManagementClient) error {
		_, _, err := m.FindProvider(context.Background(), "z1", "https://auth.atlassian.com")
		return err
	},
	"CreateProvider": func(m *keycard.ManagementClient) error {
		_, err := m.CreateProvider(context.Background(), "z1", keycard.ProviderCreate{Identifier: "i", Name: "n", ClientSecret: redacted.New(upstreamSecret)})
		return err
	},
	"PatchProvider": func(m *keycard.ManagementClient) error {
		_, err := m.PatchProvider(context.Background(), "z1", "p1", keycard.ProviderPatch{ClientSecret: keycard.Set(redacted.New(upstreamSecret))})
		return err
	},
	"DeleteResource": func(m *keycard.ManagementClient) error { return m.DeleteResource(context.Background(), "z1", "r1") },
}

var zoneCalls = map[string]func(*keycard.ZoneClient) error{
	"Exchange": func(z *keycard.ZoneClient) error { _, err := exchange(z); return err },
	"Exchange with workload identity": func(z *keycard.ZoneClient) error {
		r := exchangeRequest()
		r.ClientAuth = workload
		_, err := z.Exchange(context.Background(), r)
		return err
	},
	"ClientCredentials": func(z *keycard.ZoneClient) error {
		_, err := z.ClientCredentials(context.Background(), keycard.ClientCredentialsRequest{ClientAuth: workload, Resource: "r"})
		return err
	},
	"Refresh": func(z *keycard.ZoneClient) error {
		_, err := z.Refresh(context.Background(), keycard.RefreshRequest{ClientAuth: exchangeRequest().ClientAuth, RefreshToken: redacted.New(refreshTokenSent), Resource: "r"})
		return err
	},
}

// checkError looks for secrets in an error and in everything that it wraps.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("the call succeeded")
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		expectNoCanary(t, e)
	}
	expectNoCanary(t, *mustError(t, err))
}

func TestNoSecretInAnyError(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 404, 409, 429, 500} {
		for _, contentType := range []string{"application/json", "text/html"} {
			for name, do := range managementCalls {
				t.Run(fmt.Sprintf("%s/%d/%s", name, status, contentType), func(t *testing.T) {
					s := newAPI(t)
					echoServer(t, s, status, contentType)
					m := management(t, s, options())
					if err := do(m); name != "DeleteResource" || status != 404 {
						checkError(t, err)
					}
				})
			}
			for name, do := range zoneCalls {
				t.Run(fmt.Sprintf("%s/%d/%s", name, status, contentType), func(t *testing.T) {
					s := newZone(t)
					echoServer(t, s, status, contentType)
					z := zoneClient(t, s, options())
					checkError(t, do(z))
				})
			}
		}
	}
}

func TestNoSecretInOtherErrors(t *testing.T) {
	ctx := context.Background()
	t.Run("service account", func(t *testing.T) {
		s := newServer(t)
		echoServer(t, s, 401, "application/json")
		checkError(t, management(t, s, options()).CheckCredentials(ctx))
	})
	t.Run("discovery", func(t *testing.T) {
		s := newServer(t)
		s.on("GET "+discoveryPath, answer(200, `{"issuer":"https://`+strings.Repeat("aB3", 15)+`.example"}`))
		_, err := zoneClient(t, s, options()).Metadata(ctx)
		checkError(t, err)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring("[redacted]")))
	})
	t.Run("a broken answer with a token in it", func(t *testing.T) {
		for _, body := range []string{
			`{"access_token":"` + issuedToken + `\n","refresh_token":"` + issuedRefresh + `"}`,
			`{"access_token":"` + issuedToken + `","token_type":"` + issuedToken + `"}`,
			`{"access_token":"` + issuedToken + `"`,
			`{"access_token":["` + issuedToken + `"]}`,
		} {
			s := newZone(t)
			s.on("POST "+tokenPath, answer(200, body))
			_, err := exchange(zoneClient(t, s, options()))
			checkError(t, err)
		}
	})
}

func TestNoSecretInAnyValue(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	s.on("GET "+discoveryPath, answer(200, metadataOf(s.URL)))
	s.on("POST "+tokenPath, answer(200, `{"access_token":"`+issuedToken+`","refresh_token":"`+issuedRefresh+`","expires_in":60}`))
	pool := newPool(t, options())
	cfg := keycard.ManagementConfig{BaseURL: s.URL, ClientID: "sa-1", ClientSecret: redacted.New(clientSecret)}
	m, err := pool.Management(cfg)
	g.Expect(err).NotTo(HaveOccurred())
	z, err := pool.Zone(s.URL)
	g.Expect(err).NotTo(HaveOccurred())
	token, err := exchange(z)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(token.AccessToken.Reveal()).To(Equal(issuedToken))

	for name, value := range map[string]any{
		"management client": *m, "pointer to management client": m, "config": cfg, "token": token, "pointer to token": &token,
		"exchange request": exchangeRequest(),
		"workload":         keycard.JWTBearerAssertion{Assertion: redacted.New(workloadJWT)},
		"client secret":    keycard.ClientSecretBasic{ClientID: "a", ClientSecret: redacted.New(clientSecret)},
		"refresh request":  keycard.RefreshRequest{RefreshToken: redacted.New(refreshTokenSent)},
		"provider create":  keycard.ProviderCreate{ClientSecret: redacted.New(upstreamSecret)},
		"provider patch":   keycard.ProviderPatch{ClientSecret: keycard.Set(redacted.New(upstreamSecret))},
	} {
		t.Run(name, func(t *testing.T) { expectNoCanary(t, value) })
	}
}

// TestEncodedFormsOfASecret uses secrets that are too short and plain to look like one.
func TestEncodedFormsOfASecret(t *testing.T) {
	for secret, want := range map[string]string{
		"pw-x-y": "got Basic [redacted] which is a:[redacted]",
		"pw+x+y": "got [redacted] which is [redacted]",
	} {
		t.Run(secret, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, func(w http.ResponseWriter, r *http.Request) {
				sent, decoded := r.Header.Get("Authorization"), []byte(s.requests(tokenPath)[0].form(t).Get("client_secret"))
				if sent == "" {
					sent = url.QueryEscape(string(decoded))
				} else {
					decoded, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(sent, "Basic "))
				}
				answer(400, `{"error":"invalid_client","error_description":"got `+sent+` which is `+string(decoded)+`"}`)(w, r)
			})
			request := exchangeRequest()
			request.ClientAuth = keycard.ClientSecretBasic{ClientID: "a", ClientSecret: redacted.New(secret)}
			_, err := zoneClient(t, s, options()).Exchange(context.Background(), request)
			g.Expect(err).To(MatchError("exchanging the token: invalid_client: " + want))
		})
	}
}
