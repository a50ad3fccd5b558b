// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// showConsent answers GET /login/consent.
func (s *server) showConsent(w http.ResponseWriter, r *http.Request) {
	j, shown, err := s.consentView(r, r.URL.Query().Get("i"))
	switch {
	case err != nil:
		s.failed(w, r, err)
	case !j.signedIn:
		s.see(w, r, continuePath, j.ID)
	default:
		s.render(w, http.StatusOK, "consent", shown)
	}
}

func (s *server) consentView(r *http.Request, id string) (j journey, p page, err error) {
	err = s.Store.View(func(tx *store.Tx) error {
		if j, err = s.travel(tx, r, id); err != nil {
			return err
		}
		p = page{Title: j.app.Name + " asks for access", Zone: j.zone.Name, App: j.app.Name, User: j.user.Email, Interaction: j.ID, Scopes: inWords(j.Scopes)}
		for _, resource := range j.shown {
			shown := shownResource{Name: resource.Name, Identifier: resource.Identifier, Scopes: inWords(resource.Scopes)}
			if provider, ok := external(tx, resource); ok {
				shown.Provider = provider.Name
				shown.Connect = slices.ContainsFunc(j.missing, func(m store.Resource) bool { return m.ID == resource.ID })
			}
			p.Resources = append(p.Resources, shown)
		}
		return nil
	})
	return j, p, err
}

// consent answers the form.
func (s *server) consent(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	j, shown, err := s.consentView(r, form.Get("i"))
	if err == nil && !j.signedIn {
		err = errLost
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	outcome := Outcome{Kind: "consent", Zone: j.zone.ID, User: j.user.Identifier, Application: j.app.Identifier, Scopes: j.Scopes, Session: j.session.ID}
	switch form.Get("action") {
	case "approve":
		if err := s.approve(j); err != nil {
			s.failed(w, r, err)
			return
		}
		s.Observe(r.Context(), outcome)
		s.see(w, r, continuePath, j.ID)
	case "deny":
		outcome.Refusal = "the person declined"
		s.Observe(r.Context(), outcome)
		s.finishWith(w, r, j, url.Values{"error": {"access_denied"}, "error_description": {"The person declined."}})
	case "switch":
		if err := s.switchAccount(w, j); err != nil {
			s.failed(w, r, err)
			return
		}
		s.see(w, r, continuePath, j.ID)
	default:
		shown.Problem = "Choose Allow or Deny."
		s.render(w, http.StatusUnprocessableEntity, "consent", shown)
	}
}

// approve remembers the decision for this interaction and for later ones.
func (s *server) approve(j journey) error {
	return s.Store.Do(func(tx *store.Tx) error {
		if err := keep(tx, j, func(i *store.Interaction) { i.Consented = true }); err != nil {
			return err
		}
		a, found := tx.Approvals.Find(j.zone.ID, store.ApprovalKey(j.user.ID, j.app.ID))
		a.ZoneID, a.UserID, a.ApplicationID = j.zone.ID, j.user.ID, j.app.ID
		a.Scopes = merged(a.Scopes, j.Scopes)
		var ids []string
		for _, r := range j.shown {
			ids = append(ids, r.ID)
		}
		a.ResourceIDs = merged(a.ResourceIDs, ids)
		put := tx.Approvals.Insert
		if found {
			put = tx.Approvals.Replace
		}
		_, err := put(a)
		return err
	})
}

// switchAccount signs the person out and asks who else wants to sign in.
func (s *server) switchAccount(w http.ResponseWriter, j journey) error {
	err := s.Store.Do(func(tx *store.Tx) error {
		if err := signOut(tx, j.session); err != nil {
			return err
		}
		return keep(tx, j, func(i *store.Interaction) {
			forget(i)
			i.LoginHint, i.Prompts = "", merged(i.Prompts, []string{"login"})
		})
	})
	if err == nil {
		s.setCookie(w, sessionCookie, "", -time.Second)
	}
	return err
}

// signOut ends the session of a browser. What applications were given stays.
func signOut(tx *store.Tx, session store.Session) error {
	session.Status = store.SessionExpired
	_, err := tx.Sessions.Replace(session)
	return err
}

// merged returns a new list of both.
func merged(old, more []string) []string {
	out := slices.Clone(old)
	for _, s := range more {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
