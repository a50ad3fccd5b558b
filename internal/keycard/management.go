// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const (
	opManagementToken = "getting a management API token"

	// A management token is renewed this long, or a tenth of its life, before it expires.
	renewEarly = 10 * time.Second

	// How long a management token is kept when the answer does not say how long it lives. A token that
	// dies earlier costs one more round trip, see send.
	assumedManagementLifetime = time.Minute
)

// ManagementConfig says where the management API is, and as which service account to call it.
type ManagementConfig struct {
	// BaseURL is the API's root, for example https://api.keycard.ai.
	BaseURL string
	// ClientID and ClientSecret are the service account's credential.
	ClientID     string
	ClientSecret redacted.String
}

// ManagementClient calls Keycard's management API. Get one from a Pool. It is safe for concurrent use.
type ManagementClient struct {
	transport *transport
	base      string
	auth      ClientSecretBasic
	token     *cached[Token]
	readOnly  bool
}

// ReadOnly returns a client that shares the token and refuses every request that would change something, before it
// is sent.
func (m *ManagementClient) ReadOnly() *ManagementClient {
	c := *m
	c.readOnly = true
	return &c
}

func newManagementClient(t *transport, cfg ManagementConfig) (*ManagementClient, error) {
	const op = "configuring the management API client"
	base, err := t.options.parseBaseURL(op, cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	m := &ManagementClient{
		transport: &transport{http: t.http, options: t.options, management: true},
		base:      base.String(),
		auth:      ClientSecretBasic{ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret},
	}
	if problem := m.auth.check(); problem != "" {
		return nil, misconfigured(op, "%s", problem)
	}
	m.token = &cached[Token]{op: opManagementToken, now: t.options.Now, fetch: m.fetchToken}
	return m, nil
}

// fetchToken gets a service-account token: POST /service-account-token. Nothing of the answer is kept but the access token,
// whose length is bounded: an install names the server.
func (m *ManagementClient) fetchToken(ctx context.Context) (Token, time.Time, error) {
	t, err := m.transport.requestToken(ctx, tokenCall{
		op:   opManagementToken,
		url:  m.base + "/service-account-token",
		auth: m.auth,
		form: url.Values{"grant_type": {"client_credentials"}},
	})
	life := assumedManagementLifetime
	if t.ExpiresIn > 0 {
		life = t.ExpiresIn
	}
	return Token{AccessToken: t.AccessToken}, t.ObservedAt.Add(life - min(renewEarly, life/10)), err
}

// CheckCredentials gets a service-account token unless a good one is at hand, and so tells whether the
// client id and secret are accepted.
func (m *ManagementClient) CheckCredentials(ctx context.Context) error {
	_, err := m.token.get(ctx)
	return err
}

// request is one management call: its path segments are escaped, its body is encoded as JSON.
type request struct {
	op      string
	method  string
	path    []string
	query   url.Values
	body    any
	secrets []redacted.String
}

// send performs r and decodes the answer into out, or ignores the answer's body when out is nil. If the
// API refuses the token, which it may have revoked, one attempt is made with a new one.
func (m *ManagementClient) send(ctx context.Context, r request, out any) error {
	if m.readOnly && r.method != http.MethodGet {
		return misconfigured(r.op, "nothing is changed by a client that only reads")
	}
	c, err := m.call(r)
	if err != nil {
		return err
	}
	t, err := m.token.get(ctx)
	if err != nil {
		return err
	}
	err = m.sendWith(ctx, c, t, out)
	if e, ok := AsError(err); !ok || e.Status != http.StatusUnauthorized {
		return err
	}
	m.token.drop(func(cached Token) bool { return cached.AccessToken.Equal(t.AccessToken) })
	if t, err = m.token.get(ctx); err != nil {
		return err
	}
	return m.sendWith(ctx, c, t, out)
}

func (m *ManagementClient) sendWith(ctx context.Context, c call, t Token, out any) error {
	c.header = c.header.Clone()
	c.header.Set("Authorization", "Bearer "+t.AccessToken.Reveal())
	c.secrets = append(slices.Clone(c.secrets), t.AccessToken)
	if out == nil {
		_, err := m.transport.do(ctx, c)
		return err
	}
	return m.transport.doJSON(ctx, c, out)
}

// call renders r.
func (m *ManagementClient) call(r request) (call, error) {
	c := call{op: r.op, method: r.method, header: http.Header{}, secrets: r.secrets}
	var u strings.Builder
	u.WriteString(m.base)
	for _, segment := range r.path {
		// A dot segment would be resolved to another path on the way.
		if segment == "" || segment == "." || segment == ".." {
			return call{}, misconfigured(r.op, "an id in the request is empty or not an id")
		}
		u.WriteString("/" + url.PathEscape(segment))
	}
	if len(r.query) > 0 {
		u.WriteString("?" + r.query.Encode())
	}
	c.url = u.String()
	if r.body != nil {
		body, err := json.Marshal(r.body)
		if err != nil {
			return call{}, misconfigured(r.op, "the request cannot be encoded")
		}
		c.body = body
		c.header.Set("Content-Type", "application/json")
	}
	if r.method == http.MethodDelete || r.method == http.MethodPut {
		c.header.Set("Accept", "*/*")
	}
	return c, nil
}
