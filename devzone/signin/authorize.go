// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// authorize answers the authorization endpoint: it checks the request and sends
// the browser on its way.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	q, problem := readQuery(w, r)
	if problem != nil {
		s.fail(w, http.StatusBadRequest, problem.text)
		return
	}
	var zone store.Zone
	var made store.Interaction
	var refused *rejection
	err := s.Store.Do(func(tx *store.Tx) error {
		var err error
		if zone, err = s.zone(tx, r); err != nil {
			return err
		}
		app, i, problem := findClient(tx, zone.ID, q)
		if problem != nil {
			return problem
		}
		if refused = readRequest(tx, zone, app, q, &i); refused != nil {
			made = i
			return nil //nolint:nilerr // it goes to the application, and nothing was changed
		}
		i.Browser = s.browser(w, r)
		i.ExpiresAt = s.Clock().Add(interactionLifetime)
		made, err = s.open(tx, i)
		return err
	})
	if problem, ok := errors.AsType[*rejection](err); ok {
		s.fail(w, http.StatusBadRequest, problem.text)
		return
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if refused != nil {
		s.sendBack(w, r, made, url.Values{"error": {refused.code}, "error_description": {refused.text}})
		return
	}
	s.see(w, r, continuePath, made.ID)
}

// open stores an interaction and forgets those whose time is over.
func (s *server) open(tx *store.Tx, i store.Interaction) (store.Interaction, error) {
	now := s.Clock()
	for _, old := range tx.Interactions.All(i.ZoneID, func(o store.Interaction) bool { return !now.Before(o.ExpiresAt) }) {
		if err := tx.Interactions.Delete(old.ZoneID, old.ID); err != nil {
			return i, err
		}
	}
	return tx.Interactions.Insert(i)
}

// see sends the browser to a page of an interaction.
func (s *server) see(w http.ResponseWriter, r *http.Request, path, id string) {
	q := url.Values{"i": {id}}
	if fromForm(r) {
		q.Set("form", "1")
	}
	http.Redirect(w, r, path+"?"+q.Encode(), http.StatusSeeOther)
}

// fromForm tells whether the request is a form, or one that a form was
// redirected to.
func fromForm(r *http.Request) bool { return r.Method == http.MethodPost || r.URL.Query().Has("form") }

// leave sends the browser to another site. After a form it is a page that does:
// browsers hold every redirect after a form, those of the other site included,
// to the form-action of the page with the form (CSP Level 3, section 6.4.1), and
// nobody knows where that site redirects to.
func (s *server) leave(w http.ResponseWriter, r *http.Request, target string) {
	u, err := url.Parse(target)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !fromForm(r) {
		http.Redirect(w, r, u.String(), http.StatusSeeOther)
		return
	}
	w.Header().Set("Refresh", "0; url="+u.String())
	s.render(w, http.StatusOK, "leave", page{
		Title: "One moment", Place: cmp.Or(u.Host, "the application"),
		Target: template.URL(u.String()), //nolint:gosec // a provider's endpoint or a registered redirect URI; see redirectURI
	})
}

// journey is an interaction with what it is about.
type journey struct {
	store.Interaction
	zone    store.Zone
	app     store.Application
	session store.Session
	user    store.User
	// signedIn is true when the browser has a session that will do.
	signedIn bool
	// shown are the resources for the consent page, and missing those whose
	// provider the person still has to go to.
	shown, missing []store.Resource
}

// travel loads the interaction that a request of the browser belongs to.
func (s *server) travel(tx *store.Tx, r *http.Request, id string) (journey, error) {
	var j journey
	var err error
	if j.zone, err = s.zone(tx, r); err != nil {
		return j, err
	}
	var ok bool
	if j.Interaction, ok = s.interaction(tx, r, j.zone.ID, id); !ok {
		return j, errLost
	}
	if j.app, err = tx.Applications.Get(j.zone.ID, j.ApplicationID); err != nil {
		return j, errLost
	}
	j.session, j.user, j.signedIn = s.session(tx, r, j.zone.ID)
	if j.SessionID != j.session.ID {
		forget(&j.Interaction)
	}
	if j.again() && !j.SignedIn {
		j.signedIn = false
	}
	if j.shown, err = resourcesOf(tx, j.Interaction); err != nil {
		return j, err
	}
	for _, resource := range j.shown {
		if s.needsConnection(tx, j, resource) {
			j.missing = append(j.missing, resource)
		}
	}
	return j, nil
}

// again tells whether the person has to sign in although she is signed in.
func (j journey) again() bool {
	return slices.Contains(j.Prompts, "login") || slices.Contains(j.Prompts, "select_account")
}

// forget drops what was done in an interaction under another session: it may
// have been another person.
func forget(i *store.Interaction) { i.SignedIn, i.Consented, i.Connected = false, false, nil }

// keep stores a change to an interaction, made under the session of the journey.
func (s *server) keep(j journey, change func(i *store.Interaction)) error {
	return s.Store.Do(func(tx *store.Tx) error { return keep(tx, j, change) })
}

func keep(tx *store.Tx, j journey, change func(i *store.Interaction)) error {
	i, err := tx.Interactions.Get(j.zone.ID, j.ID)
	if err != nil {
		return errLost
	}
	if i.SessionID != j.session.ID {
		forget(&i)
		i.SessionID = j.session.ID
	}
	change(&i)
	_, err = tx.Interactions.Replace(i)
	return err
}

// errLost says that a page was opened too late, twice or in another browser.
var errLost = errors.New("no such interaction")

// resourcesOf are the resources that a person is asked about: those that the
// request names and, unless it names foreign ones only, all that the
// application depends on.
func resourcesOf(tx *store.Tx, i store.Interaction) ([]store.Resource, error) {
	var out []store.Resource
	owned := len(i.Resources) == 0
	add := func(r store.Resource) {
		if !slices.ContainsFunc(out, func(o store.Resource) bool { return o.ID == r.ID }) {
			out = append(out, r)
		}
	}
	for _, name := range i.Resources {
		if r, ok := tx.Resources.Find(i.ZoneID, name); ok {
			owned = owned || (r.ApplicationID != nil && *r.ApplicationID == i.ApplicationID)
			add(r)
		}
	}
	if !owned {
		return out, nil
	}
	for _, d := range tx.Dependencies.All(i.ZoneID, func(d store.Dependency) bool { return d.ApplicationID == i.ApplicationID }) {
		r, err := tx.Resources.Get(i.ZoneID, d.ResourceID)
		if err != nil {
			return nil, err
		}
		add(r)
	}
	return out, nil
}

// external returns the provider that a person has to agree with for a resource.
func external(tx *store.Tx, r store.Resource) (store.Provider, bool) {
	if r.CredentialProviderID == nil {
		return store.Provider{}, false
	}
	p, err := tx.Providers.Get(r.ZoneID, *r.CredentialProviderID)
	return p, err == nil && p.Type == store.ProviderExternal
}

// needsConnection tells whether the person has to go to the resource's provider:
// the request names the resource, or there is no active grant with its scopes.
func (s *server) needsConnection(tx *store.Tx, j journey, r store.Resource) bool {
	p, ok := external(tx, r)
	if !ok || slices.Contains(j.Connected, r.ID) {
		return false
	}
	if slices.Contains(j.Resources, r.Identifier) {
		return true
	}
	grant, found := tx.Grants.Find(r.ZoneID, store.GrantKey(j.user.ID, "", r.ID))
	if !found || grant.Status != store.GrantActive || grant.ProviderID != p.ID {
		return true
	}
	return slices.ContainsFunc(r.Scopes, func(scope string) bool {
		return scope != "offline_access" && !slices.Contains(grant.Scopes, scope)
	})
}

// step is where a journey goes next.
type step int

const (
	stepLogin step = iota
	stepConsent
	stepConnect
	stepFinish
)

// next decides it. A request that forbids pages (prompt=none) gets the error
// that says which page it would have taken.
func (j journey) next(approved bool) (step, *rejection) {
	silent := slices.Contains(j.Prompts, "none")
	choose := func(at step, code, text string) (step, *rejection) {
		if silent {
			return at, reject(code, text)
		}
		return at, nil
	}
	asks := j.app.Consent == "required" && !approved || slices.Contains(j.Prompts, "consent")
	switch {
	case !j.signedIn:
		return choose(stepLogin, "login_required", "the person is not signed in")
	case asks && !j.Consented:
		return choose(stepConsent, "consent_required", "the person has not consented")
	case len(j.missing) > 0:
		return choose(stepConnect, "interaction_required", "the person has to connect an account")
	}
	return stepFinish, nil
}

// approved tells whether the person has agreed to all of this before.
func approved(tx *store.Tx, j journey) bool {
	a, ok := tx.Approvals.Find(j.zone.ID, store.ApprovalKey(j.user.ID, j.app.ID))
	if !ok {
		return false
	}
	for _, scope := range j.Scopes {
		if !slices.Contains(a.Scopes, scope) {
			return false
		}
	}
	for _, r := range j.shown {
		if !slices.Contains(a.ResourceIDs, r.ID) {
			return false
		}
	}
	return true
}

// proceed sends the browser to the next page of its interaction, or back to the
// application.
func (s *server) proceed(w http.ResponseWriter, r *http.Request) {
	var j journey
	var at step
	var refused *rejection
	err := s.Store.View(func(tx *store.Tx) error {
		var err error
		if j, err = s.travel(tx, r, r.URL.Query().Get("i")); err != nil {
			return err
		}
		at, refused = j.next(approved(tx, j))
		return nil
	})
	switch {
	case err != nil:
		s.failed(w, r, err)
	case refused != nil:
		s.finishWith(w, r, j, url.Values{"error": {refused.code}, "error_description": {refused.text}})
	case at == stepLogin:
		s.see(w, r, loginPath, j.ID)
	case at == stepConsent:
		s.see(w, r, consentPath, j.ID)
	case at == stepConnect:
		s.connect(w, r, j)
	default:
		s.finish(w, r, j)
	}
}

// finish issues the code and sends the browser back with it.
func (s *server) finish(w http.ResponseWriter, r *http.Request, j journey) {
	if j.RedirectURI == "" {
		s.finishWith(w, r, j, nil)
		return
	}
	value := store.NewSecret()
	err := s.Store.Do(func(tx *store.Tx) error {
		if err := end(tx, j); err != nil {
			return err
		}
		_, err := tx.Codes.Insert(store.Code{
			Meta: store.Meta{ZoneID: j.zone.ID}, Value: store.DigestOf(value),
			ClientID: j.ClientID, ApplicationID: j.app.ID, UserAgentID: j.UserAgentID,
			UserID: j.user.ID, SessionID: j.session.ID, RedirectURI: j.RedirectParameter, Challenge: j.Challenge,
			Scopes: j.Scopes, Resources: j.Resources, Nonce: j.Nonce, ExpiresAt: s.Clock().Add(codeLifetime),
		})
		return err
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.sendBack(w, r, j.Interaction, url.Values{"code": {value}})
}

// end uses an interaction up. Of two requests that try only one succeeds.
func end(tx *store.Tx, j journey) error {
	if err := tx.Interactions.Delete(j.zone.ID, j.ID); err != nil {
		return errLost
	}
	return nil
}

// finishWith ends the interaction and sends the browser back to the application
// with the parameters, or to a page when the application has no place.
func (s *server) finishWith(w http.ResponseWriter, r *http.Request, j journey, parameters url.Values) {
	if err := s.Store.Do(func(tx *store.Tx) error { return end(tx, j) }); err != nil {
		s.failed(w, r, err)
		return
	}
	if j.RedirectURI != "" {
		s.sendBack(w, r, j.Interaction, parameters)
		return
	}
	if parameters.Has("error") {
		s.fail(w, http.StatusOK, parameters.Get("error_description"))
		return
	}
	s.render(w, http.StatusOK, "done", page{Title: "You are connected", Zone: j.zone.Name, App: j.app.Name, User: j.user.Email})
}

// sendBack redirects to the application (RFC 6749, section 4.1.2), with the
// issuer (RFC 9207).
func (s *server) sendBack(w http.ResponseWriter, r *http.Request, i store.Interaction, parameters url.Values) {
	target, err := url.Parse(i.RedirectURI)
	if err != nil || i.RedirectURI == "" {
		s.fail(w, http.StatusBadRequest, parameters.Get("error_description"))
		return
	}
	q := target.Query()
	maps.Copy(q, parameters)
	if i.State != "" {
		q.Set("state", i.State)
	}
	q.Set("iss", s.Issuers.Of(i.ZoneID))
	target.RawQuery = q.Encode()
	s.leave(w, r, target.String())
}

// failed words an error that no page expects.
func (s *server) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errLost) {
		s.fail(w, http.StatusBadRequest, "This page has expired, was used already, or was opened in another browser. Start again from the application.")
		return
	}
	if _, ok := errors.AsType[*store.NotFoundError](err); ok {
		s.fail(w, http.StatusNotFound, "There is no such page.")
		return
	}
	if !errors.Is(err, context.Canceled) {
		s.Logger.ErrorContext(r.Context(), "sign-in page", "path", r.URL.Path, "error", err)
	}
	s.fail(w, http.StatusInternalServerError, "Something went wrong in the zone. Its log tells more.")
}
