// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a broker with a zone, a user who agreed, and a provider whose
// answers the test makes up.
type fixture struct {
	*broker.Broker
	t        *testing.T
	store    *store.Store
	query    broker.Query
	upstream string
	// page answers the authorize page, form its form, token the token endpoint.
	page, form func(w http.ResponseWriter, r *http.Request)
	token      func(w http.ResponseWriter, fields map[string]string)
}

const goodPage = `<form action="/form" method="post"><input type=hidden name=transaction value=t1>
<input type=checkbox name=site value=s1 data-url="https://one.example" data-members="ann@example.com ben@example.com">
<input type=checkbox name=site value=s2 data-url="https://two.example" data-members="ben@example.com"></form>`

func answerTokens(body string) func(http.ResponseWriter, map[string]string) {
	return func(w http.ResponseWriter, _ map[string]string) { _, _ = io.WriteString(w, body) }
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	g := NewWithT(t)
	f := &fixture{t: t, store: store.New(func() time.Time { return noon })}
	f.page = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodPage) }
	var state string
	f.form = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://zn.example/oauth/2/redirect?code=c&state="+url.QueryEscape(state), http.StatusFound)
	}
	f.token = answerTokens(`{"access_token":"a1","refresh_token":"r1","expires_in":100,"scope":"read"}`)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		state = r.URL.Query().Get("state")
		f.page(w, r)
	})
	mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) { f.form(w, r) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		var fields map[string]string
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
			t.Errorf("the token request is no JSON object of strings: %v", err)
		}
		f.token(w, fields)
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	f.upstream = web.URL

	client, err := broker.NewClient(nil, nil)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(client.CloseIdleConnections)
	issuers, err := issuer.NewMap("zn", "https://zn.example")
	g.Expect(err).NotTo(HaveOccurred())
	f.Broker = broker.New(broker.Config{
		Store: f.store, Issuers: issuers, Clock: func() time.Time { return noon },
		Client: client, Mode: broker.Refresh,
	})
	authorize, token, id, secret := web.URL+"/authorize?fixed=1", web.URL+"/token", "client", "secret"
	f.query = broker.Query{
		Resource: store.Resource{Meta: store.Meta{ID: "r", ZoneID: "zn"}, Identifier: "https://api.example", Scopes: []string{"read", "write"}},
		Provider: store.Provider{
			Meta: store.Meta{ID: "p", ZoneID: "zn"}, Identifier: "up", ClientID: &id, ClientSecret: &secret,
			Protocols: &store.ProviderProtocols{OAuth2: &store.ProviderOAuth2{AuthorizationEndpoint: &authorize, TokenEndpoint: &token}},
		},
	}
	g.Expect(f.store.Do(func(tx *store.Tx) error {
		user, err := tx.Users.Insert(store.User{
			Meta: store.Meta{ZoneID: "zn"}, Identifier: "ann",
			Consents: []store.Consent{{Resource: "https://api.example", Account: "ann@example.com"}},
		})
		f.query.UserID = user.ID
		return err
	})).To(Succeed())
	return f
}

func (f *fixture) oauth2() *store.ProviderOAuth2 { return f.query.Provider.Protocols.OAuth2 }

func (f *fixture) grant() (g store.Grant) {
	f.t.Helper()
	NewWithT(f.t).Expect(f.store.Do(func(tx *store.Tx) error {
		found := tx.Grants.All("zn", nil)
		NewWithT(f.t).Expect(found).To(HaveLen(1))
		g = found[0]
		return nil
	})).To(Succeed())
	return g
}

func TestAuthorizationURL(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	got := func() url.Values {
		raw, err := f.AuthorizationURL(t.Context(), f.query, "st")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(raw).To(HavePrefix(f.upstream + "/authorize?"))
		u, err := url.Parse(raw)
		g.Expect(err).NotTo(HaveOccurred())
		return u.Query()
	}
	g.Expect(got()).To(Equal(url.Values{
		"fixed": {"1"}, "response_type": {"code"}, "client_id": {"client"}, "state": {"st"},
		"redirect_uri": {"https://zn.example/oauth/2/redirect"}, "scope": {"read write"},
	}))

	enabled, name, separator := true, "scopes", ","
	o := f.oauth2()
	o.AuthorizationParameters = map[string]string{"prompt": "consent", "state": "overridden"}
	o.AuthorizationResourceEnabled, o.ScopeParameter, o.ScopeSeparator = &enabled, &name, &separator
	v := got()
	g.Expect(v).To(And(HaveKeyWithValue("prompt", []string{"consent"}), HaveKeyWithValue("state", []string{"st"}),
		HaveKeyWithValue("scopes", []string{"read,write"}), Not(HaveKey("scope")), HaveKeyWithValue("resource", []string{"https://api.example"})))
	parameter := "audience"
	o.AuthorizationResourceParameter = &parameter
	g.Expect(got()).To(HaveKeyWithValue("audience", []string{"https://api.example"}))
}

func TestTokenRequests(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	var requests []map[string]string
	f.token = func(w http.ResponseWriter, fields map[string]string) {
		requests = append(requests, fields)
		_, _ = io.WriteString(w, `{"access_token":"a","refresh_token":"r`+string(rune('0'+len(requests)))+`"}`)
	}
	for range 3 {
		_, err := f.Token(t.Context(), f.query)
		g.Expect(err).NotTo(HaveOccurred())
	}
	client := func(more map[string]string) map[string]string {
		more["client_id"], more["client_secret"] = "client", "secret"
		return more
	}
	g.Expect(requests).To(Equal([]map[string]string{
		client(map[string]string{"grant_type": "authorization_code", "code": "c", "redirect_uri": "https://zn.example/oauth/2/redirect"}),
		client(map[string]string{"grant_type": "refresh_token", "refresh_token": "r1"}),
		client(map[string]string{"grant_type": "refresh_token", "refresh_token": "r2"}),
	}))
	g.Expect(f.grant()).To(And(HaveField("RefreshToken", "r3"), HaveField("Scopes", []string{"read", "write"})))
}

func TestUpstreamAnswers(t *testing.T) {
	tests := map[string]struct {
		body    string
		pointer string
		value   string
		life    time.Duration
		scopes  []string
		refresh string
	}{
		"plain":             {body: `{"access_token":"a","expires_in":60,"scope":"x y","refresh_token":"r"}`, value: "a", life: time.Minute, scopes: []string{"x", "y"}, refresh: "r"},
		"text number":       {body: `{"access_token":"a","expires_in":"60"}`, value: "a", life: time.Minute, scopes: []string{"read", "write"}},
		"no life":           {body: `{"access_token":"a"}`, value: "a", life: time.Hour, scopes: []string{"read", "write"}},
		"odd life":          {body: `{"access_token":"a","expires_in":-5}`, value: "a", life: time.Hour, scopes: []string{"read", "write"}},
		"empty scope":       {body: `{"access_token":"a","scope":""}`, value: "a", life: time.Hour, scopes: []string{}},
		"pointer":           {body: `{"authed_user":{"access_token":"deep"},"access_token":"flat"}`, pointer: "authed_user.access_token", value: "deep", life: time.Hour, scopes: []string{"read", "write"}},
		"pointer to no-one": {body: `{"access_token":"flat"}`, pointer: "authed_user.access_token"},
		"number":            {body: `{"access_token":7}`},
		"empty":             {body: `{"access_token":""}`},
		"array":             {body: `[]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			f := newFixture(t)
			f.token = answerTokens(tt.body)
			if tt.pointer != "" {
				f.oauth2().AccessTokenPointer = &tt.pointer
			}
			got, err := f.Token(t.Context(), f.query)
			if tt.value == "" {
				g.Expect(err).To(MatchError(ContainSubstring("holds no access token")))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(broker.Token{Value: tt.value, Expires: noon.Add(tt.life), Scopes: tt.scopes}))
			g.Expect(f.grant().RefreshToken).To(Equal(tt.refresh))
		})
	}
}

func TestConsentForm(t *testing.T) {
	for name, tt := range map[string]struct {
		account string
		sites   []string
		want    []string
	}{
		"all sites of ann": {account: "ann@example.com", want: []string{"s1"}},
		"all sites of ben": {account: "ben@example.com", want: []string{"s1", "s2"}},
		"chosen site":      {account: "ben@example.com", sites: []string{"https://two.example"}, want: []string{"s2"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			f := newFixture(t)
			g.Expect(f.store.Do(func(tx *store.Tx) error {
				user, err := tx.Users.Get("zn", f.query.UserID)
				g.Expect(err).NotTo(HaveOccurred())
				user.Consents = []store.Consent{{Resource: "https://api.example", Account: tt.account, Sites: tt.sites}}
				_, err = tx.Users.Replace(user)
				return err
			})).To(Succeed())
			var sent url.Values
			next := f.form
			f.form = func(w http.ResponseWriter, r *http.Request) {
				g.Expect(r.ParseForm()).To(Succeed())
				sent = r.PostForm
				next(w, r)
			}
			_, err := f.Token(t.Context(), f.query)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(sent).To(Equal(url.Values{"transaction": {"t1"}, "account": {tt.account}, "decision": {"approve"}, "site": tt.want}))
		})
	}
}

func TestConsentFailures(t *testing.T) {
	send := func(status int, location, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const back = "https://zn.example/oauth/2/redirect"
	tests := map[string]struct {
		page, form func(http.ResponseWriter, *http.Request)
		want       string
		temporary  bool
	}{
		"error page":         {page: send(400, "", `<p id=error>too <b>bad</b></p>`), want: "HTTP 400: too bad"},
		"server error":       {page: send(500, "", ""), want: "HTTP 500", temporary: true},
		"no form":            {page: send(200, "", "<p>hello"), want: "no form"},
		"redirect elsewhere": {page: send(302, "https://evil.example/?code=c", ""), want: "redirected elsewhere"},
		"prefix of callback": {page: send(302, back+".evil.example/?code=c", ""), want: "redirected elsewhere"},
		"other state":        {page: send(302, back+"?code=c&state=other", ""), want: "another state"},
		"form answers":       {form: send(200, "", "<p>done"), want: "did not redirect"},
		"form refuses":       {form: send(422, "", `<p id=problem>choose</p>`), want: "HTTP 422: choose"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			f := newFixture(t)
			if tt.page != nil {
				f.page = tt.page
			}
			if tt.form != nil {
				f.form = tt.form
			}
			f.token = func(http.ResponseWriter, map[string]string) { t.Error("a code was redeemed") }
			_, err := f.Token(t.Context(), f.query)
			var refusal *broker.UpstreamError
			g.Expect(err).To(BeAssignableToTypeOf(refusal))
			g.Expect(err).To(MatchError(And(ContainSubstring("asking for consent"), ContainSubstring(tt.want))))
			g.Expect(err.(*broker.UpstreamError).Temporary()).To(Equal(tt.temporary))
		})
	}
}

func TestDenialAtTheProvider(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	f.page = func(w http.ResponseWriter, r *http.Request) {
		back := url.Values{"error": {"access_denied"}, "error_description": {"no thanks"}, "state": {r.URL.Query().Get("state")}}
		http.Redirect(w, r, "https://zn.example/oauth/2/redirect?"+back.Encode(), http.StatusFound)
	}
	_, err := f.Token(t.Context(), f.query)
	g.Expect(err).To(MatchError(ContainSubstring("access_denied: no thanks")))
}

// TestConsentDuringARefresh renews the grant while the provider refuses the old
// refresh token: the new consent stands.
func TestConsentDuringARefresh(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	_, err := f.Token(t.Context(), f.query)
	g.Expect(err).NotTo(HaveOccurred())
	f.token = func(w http.ResponseWriter, fields map[string]string) {
		if fields["grant_type"] == "authorization_code" {
			_, _ = io.WriteString(w, `{"access_token":"a2","refresh_token":"r2"}`)
			return
		}
		if _, err := f.Complete(t.Context(), f.query, "another code"); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
	}
	_, err = f.Token(t.Context(), f.query)
	g.Expect(err).To(MatchError(broker.ErrConsentRequired))
	g.Expect(f.grant()).To(And(HaveField("Status", store.GrantActive), HaveField("RefreshToken", "r2")))
}

func TestCompleteRenewsARevokedGrant(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	_, err := f.Token(t.Context(), f.query)
	g.Expect(err).NotTo(HaveOccurred())
	old := f.grant()
	g.Expect(f.store.Do(func(tx *store.Tx) error {
		revoked := old
		revoked.Status, revoked.RefreshToken = store.GrantRevoked, ""
		_, err := tx.Grants.Replace(revoked)
		return err
	})).To(Succeed())
	_, err = f.Token(t.Context(), f.query)
	g.Expect(err).To(MatchError(broker.ErrConsentRequired))
	_, err = f.Complete(t.Context(), f.query, "c")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(f.grant()).To(And(HaveField("Status", store.GrantActive), HaveField("ID", old.ID), HaveField("RefreshToken", "r1")))
}

func TestUpstreamErrorsHoldNoCredentials(t *testing.T) {
	g := NewWithT(t)
	f := newFixture(t)
	_, err := f.Token(t.Context(), f.query)
	g.Expect(err).NotTo(HaveOccurred())
	f.token = func(w http.ResponseWriter, fields map[string]string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"`+fields["client_secret"]+strings.ToUpper(fields["refresh_token"])+`","error_description":"`+fields["refresh_token"]+`"}`)
	}
	_, err = f.Token(t.Context(), f.query)
	g.Expect(err).To(MatchError(And(ContainSubstring("HTTP 400"), Not(ContainSubstring("secret")), Not(ContainSubstring("r1")))))
}
