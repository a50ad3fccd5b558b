// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
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
		s.render(w, http.StatusOK, "consent", s.formTargets(r, j), shown)
	}
}

func (s *server) consentView(r *http.Request, id string) (j journey, p page, err error) {
	err = s.Store.View(func(tx *store.Tx) error {
		if j, err = s.travel(tx, r, id); err != nil {
			return err
		}
		p = page{Title: j.app.Name + " asks for access", Zone: j.zone.Name, App: j.app.Name, User: j.user.Email, Interaction: j.ID, Scopes: j.Scopes}
		for _, resource := range j.shown {
			shown := shownResource{Name: resource.Name, Identifier: resource.Identifier, Scopes: resource.Scopes}
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
	default:
		shown.Problem = "Choose Allow or Deny."
		s.render(w, http.StatusUnprocessableEntity, "consent", s.formTargets(r, j), shown)
	}
}

// approve remembers the decision for this interaction and for later ones.
func (s *server) approve(j journey) error {
	return s.Store.Do(func(tx *store.Tx) error {
		i, err := tx.Interactions.Get(j.zone.ID, j.ID)
		if err != nil {
			return errLost
		}
		i.Consented = true
		if _, err := tx.Interactions.Replace(i); err != nil {
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
		_, err = put(a)
		return err
	})
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
