// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed authorize.html.tmpl
var authorizePage string

//go:embed authorize.css
var authorizeStyle []byte

var pageTemplate = template.Must(template.New("authorize").Parse(authorizePage))

// maxFormBody is the largest consent form in bytes.
const maxFormBody = 64 << 10

// pending is a valid authorize request whose person has not decided yet.
type pending struct {
	app         App
	redirectURI string
	state       string
	scopes      []string
	expires     time.Time
}

// page is what the template shows: the form, or an error that must not go back
// to a callback nobody vouches for.
type page struct {
	Error       string
	Transaction string
	Problem     string
	App         string
	// User is who continues; the page asks for her account while she is nil.
	User   *User
	Users  []User
	Scopes []string
	// Sites are hers.
	Sites []Site
}

// showConsent answers GET /authorize.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	app, known := s.app(q.Get("client_id"))
	if !known {
		s.render(w, http.StatusBadRequest, page{Error: "unauthorized_client: unknown client_id"})
		return
	}
	if q.Get("redirect_uri") != app.Callback {
		s.render(w, http.StatusBadRequest, page{Error: "unauthorized_client: Callback URL mismatch. " + app.Name +
			" is registered with " + app.Callback})
		return
	}
	scopes := strings.Fields(q.Get("scope"))
	if code, text := checkAuthorize(q, scopes, app); code != "" {
		redirect(w, app.Callback, url.Values{"error": {code}, "error_description": {text}, "state": q["state"]})
		return
	}
	p := pending{app: app, redirectURI: app.Callback, state: q.Get("state"), scopes: scopes}
	// As at a real one, login_hint may say who it is (OpenID Connect Core 1.0,
	// section 3.1.2.1).
	s.renderForm(w, http.StatusOK, s.state.await(p), p, q.Get("login_hint"), "")
}

func checkAuthorize(q url.Values, scopes []string, app App) (code, text string) {
	if q.Get("response_type") != "code" {
		return "unsupported_response_type", "response_type must be code"
	}
	if q.Get("audience") != requiredAudience {
		return "invalid_request", "audience must be " + requiredAudience
	}
	if q.Get("prompt") != "consent" {
		return "invalid_request", "prompt must be consent"
	}
	if q.Get("state") == "" {
		return "invalid_request", "state is required"
	}
	if len(scopes) == 0 {
		return "invalid_scope", "scope is required"
	}
	for _, scope := range scopes {
		if scope != offlineAccess && !slices.Contains(app.Scopes, scope) {
			return "invalid_scope", "the scope " + scope + " is not enabled for this app"
		}
	}
	return "", ""
}

// decideConsent answers the form of showConsent.
func (s *Server) decideConsent(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBody)
	if err := r.ParseForm(); err != nil {
		s.render(w, http.StatusBadRequest, page{Error: "invalid_request: the form is malformed"})
		return
	}
	id := r.PostForm.Get("transaction")
	p, ok, keep := s.state.decide(id)
	if !ok {
		s.render(w, http.StatusBadRequest, page{Error: "invalid_request: this page was used or has expired, start again"})
		return
	}
	account := r.PostForm.Get("account")
	switch r.PostForm.Get("decision") {
	case "continue":
		keep()
		if _, known := s.user(account); !known {
			s.renderForm(w, http.StatusUnprocessableEntity, id, p, "", noAccount)
			return
		}
		s.renderForm(w, http.StatusOK, id, p, account, "")
		return
	case "switch":
		keep()
		s.renderForm(w, http.StatusOK, id, p, "", "")
		return
	case "deny":
		redirect(w, p.redirectURI, url.Values{
			"error":             {"access_denied"},
			"error_description": {"User did not authorize the request"}, "state": {p.state},
		})
		return
	}
	email, cloudIDs, problem := s.readDecision(r.PostForm)
	if problem != "" {
		keep()
		s.renderForm(w, http.StatusUnprocessableEntity, id, p, account, problem)
		return
	}
	code, err := s.state.approve(approval{ClientID: p.app.ClientID, Email: email, Scopes: p.scopes, CloudIDs: cloudIDs},
		p.redirectURI)
	if err != nil {
		s.render(w, http.StatusInternalServerError, page{Error: "server_error: the decision could not be saved"})
		return
	}
	redirect(w, p.redirectURI, url.Values{"code": {code}, "state": {p.state}})
}

func (s *Server) readDecision(form url.Values) (email string, cloudIDs []string, problem string) {
	if form.Get("decision") != "approve" {
		return "", nil, "Choose Accept or Cancel."
	}
	user, ok := s.user(form.Get("account"))
	if !ok {
		return "", nil, noAccount
	}
	cloudIDs = form["site"]
	// An account without any site can agree all the same; its token opens none.
	if len(cloudIDs) == 0 && len(s.sitesOf(user)) > 0 {
		return "", nil, "Choose at least one site."
	}
	for _, id := range cloudIDs {
		site, ok := s.site(id)
		if !ok || !slices.Contains(site.Members, user.Email) {
			return "", nil, user.Name + " has no access to one of the chosen sites."
		}
	}
	return user.Email, cloudIDs, ""
}

// noAccount asks for an account.
const noAccount = "Choose the account to continue with."

func (s *Server) sitesOf(u User) []Site {
	return slices.DeleteFunc(slices.Clone(s.data.Sites), func(site Site) bool { return !slices.Contains(site.Members, u.Email) })
}

// renderForm asks the account for its decision, or which account it is when
// there is no such account.
func (s *Server) renderForm(w http.ResponseWriter, status int, id string, p pending, account, problem string) {
	shown := page{Transaction: id, Problem: problem, App: p.app.Name, Scopes: p.scopes, Users: s.data.Users}
	if user, known := s.user(account); known {
		shown.User, shown.Sites = &user, s.sitesOf(user)
	}
	s.render(w, status, shown)
}

func (s *Server) showStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(authorizeStyle)
}

func (s *Server) render(w http.ResponseWriter, status int, p page) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	// No form-action: browsers hold all redirects after the form to it, and where
	// the app's own go is not known here.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	// The status is out; a failed write means that the browser has gone.
	_ = pageTemplate.Execute(w, p)
}

// redirect sends the browser to a registered callback.
func redirect(w http.ResponseWriter, callback string, q url.Values) {
	u, err := url.Parse(callback)
	if err != nil {
		// Validate has parsed it before.
		panic("parsing a validated callback URL")
	}
	all := u.Query()
	maps.Copy(all, q)
	u.RawQuery = all.Encode()
	w.Header().Set("Location", u.String())
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusFound)
}
