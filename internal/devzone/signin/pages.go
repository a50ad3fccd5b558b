// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages
var files embed.FS

// templates are the pages, each within the layout.
var templates = func() map[string]*template.Template {
	out := map[string]*template.Template{}
	for _, name := range []string{"login", "consent", "done", "logout", "problem"} {
		out[name] = template.Must(template.ParseFS(files, "pages/layout.html.tmpl", "pages/"+name+".html.tmpl"))
	}
	return out
}()

// page is what the templates show.
type page struct {
	Title string
	Zone  string
	App   string
	// User is the e-mail address of who is signed in.
	User        string
	Interaction string
	Identifier  string
	// Problem is what was wrong with the form.
	Problem   string
	Scopes    []string
	Resources []shownResource
}

// shownResource is a resource on the consent page.
type shownResource struct {
	Name, Identifier string
	Scopes           []string
	// Provider is who the person has to agree with, if anybody.
	Provider string
	// Connect is true when she will be sent there.
	Connect bool
}

// render writes a page. A form of it may lead to the targets, besides the zone:
// browsers hold redirects after a form to that, too.
func (s *server) render(w http.ResponseWriter, status int, name string, targets []string, p page) {
	var body bytes.Buffer
	if err := templates[name].ExecuteTemplate(&body, "layout", p); err != nil {
		s.Logger.Error("rendering a page", "page", name, "error", err)
		http.Error(w, "Something went wrong in the zone. Its log tells more.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+
		strings.Join(append([]string{"'self'"}, targets...), " "))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	// The status is out; a failed write means that the browser has gone.
	_, _ = w.Write(body.Bytes())
}

// fail shows a problem that ends the journey.
func (s *server) fail(w http.ResponseWriter, status int, text string) {
	s.render(w, status, "problem", nil, page{Title: "That did not work", Problem: text})
}

// formTargets are the origins that the forms of an interaction may lead to in
// the end: the providers that the person is sent to, and the application.
func (s *server) formTargets(r *http.Request, j journey) []string {
	var out []string
	add := func(target string) {
		u, err := url.Parse(target)
		if err != nil || u.Scheme == "" {
			return
		}
		source := u.Scheme + "://" + u.Host
		if u.Host == "" {
			source = u.Scheme + ":"
		}
		// Nothing that ends the directive may get in.
		if !strings.ContainsAny(source, " ;,'\"") && !slices.Contains(out, source) {
			out = append(out, source)
		}
	}
	for _, resource := range j.missing {
		q, err := s.query(resource, j.user)
		if err != nil {
			continue
		}
		// A provider that does not answer is reported when the person is sent there.
		if target, err := s.Broker.AuthorizationURL(r.Context(), q, ""); err == nil {
			add(s.Locate(target))
		}
	}
	add(j.RedirectURI)
	return out
}

// form reads the form of a page.
func (s *server) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.fail(w, http.StatusBadRequest, "The form is malformed or too large.")
		return nil, false
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			s.fail(w, http.StatusBadRequest, "The form has a field twice.")
			return nil, false
		}
	}
	return r.PostForm, true
}

func style(w http.ResponseWriter, _ *http.Request) {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic("reading an embedded file")
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(css)
}
