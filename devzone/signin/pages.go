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
)

//go:embed pages
var files embed.FS

// templates are the pages, each within the layout.
var templates = func() map[string]*template.Template {
	out := map[string]*template.Template{}
	for _, name := range []string{"login", "consent", "done", "leave", "logout", "problem"} {
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
	// Problem is what was wrong, and Faults what was wrong with the form.
	Problem   string
	Faults    []fault
	Scopes    []shownScope
	Resources []shownResource
	// Target is where the browser goes next, and Place its host.
	Target template.URL
	Place  string
}

// fault is what was wrong with a field of the form.
type fault struct{ Field, Text string }

// Invalid tells whether there is a fault of the field.
func (p page) Invalid(field string) bool {
	return slices.ContainsFunc(p.Faults, func(f fault) bool { return f.Field == field })
}

// shownResource is a resource on the consent page.
type shownResource struct {
	Name, Identifier string
	Scopes           []shownScope
	// Provider is who the person has to agree with, if anybody.
	Provider string
	// Connect is true when she will be sent there.
	Connect bool
}

// render writes a page.
func (s *server) render(w http.ResponseWriter, status int, name string, p page) {
	var body bytes.Buffer
	if err := templates[name].ExecuteTemplate(&body, "layout", p); err != nil {
		s.Logger.Error("rendering a page", "page", name, "error", err)
		http.Error(w, "Something went wrong in the zone. Its log tells more.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// The status is out; a failed write means that the browser has gone.
	_, _ = w.Write(body.Bytes())
}

// fail shows a problem that ends the journey.
func (s *server) fail(w http.ResponseWriter, status int, text string) {
	s.render(w, status, "problem", page{Title: "That did not work", Problem: text})
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
	_, _ = w.Write(css)
}
