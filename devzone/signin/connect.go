// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// connect sends the browser to the provider of the first resource that is
// missing.
func (s *server) connect(w http.ResponseWriter, r *http.Request, j journey) {
	resource := j.missing[0]
	q, err := s.query(resource, j.user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	state, err := s.await(j, func(i *store.Interaction) { i.UpstreamResource = resource.ID })
	if err != nil {
		s.failed(w, r, err)
		return
	}
	target, err := s.Broker.AuthorizationURL(r.Context(), q, state)
	if err != nil {
		s.disconnected(w, r, j, resource, err)
		return
	}
	s.leave(w, r, s.Locate(target))
}

func (s *server) query(resource store.Resource, user store.User) (broker.Query, error) {
	q := broker.Query{Resource: resource, UserID: user.ID}
	err := s.Store.View(func(tx *store.Tx) error {
		var ok bool
		if q.Provider, ok = external(tx, resource); !ok {
			return errLost
		}
		return nil
	})
	return q, err
}

// await makes the state that a provider has to send back. The one before it is
// of no use any more.
func (s *server) await(j journey, change func(*store.Interaction)) (state string, err error) {
	secret := store.NewSecret()
	err = s.keep(j, func(i *store.Interaction) {
		i.Upstream = store.DigestOf(secret)
		change(i)
	})
	return j.ID + "." + secret, err
}

// callback answers the zone's redirect_uri, where providers send the browser
// back to.
func (s *server) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, values := range q {
		if len(values) > 1 {
			s.fail(w, http.StatusBadRequest, "The provider sent the parameter "+clean(name)+" twice.")
			return
		}
	}
	j, awaited, err := s.returned(r, q.Get("state"))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if awaited.UpstreamResource == "" {
		s.fromIdentityProvider(w, r, j, awaited)
		return
	}
	i := slices.IndexFunc(j.shown, func(x store.Resource) bool { return x.ID == awaited.UpstreamResource })
	if i < 0 || !j.signedIn || awaited.SessionID != j.session.ID {
		s.failed(w, r, errLost)
		return
	}
	resource := j.shown[i]
	if code := q.Get("error"); code != "" {
		s.declined(w, r, j, resource, clean(code), clean(q.Get("error_description")))
		return
	}
	query, err := s.query(resource, j.user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	token, err := s.Broker.Complete(r.Context(), query, q.Get("code"))
	if err != nil {
		s.disconnected(w, r, j, resource, err)
		return
	}
	err = s.keep(j, func(i *store.Interaction) { i.Connected = merged(i.Connected, []string{resource.ID}) })
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.Observe(r.Context(), s.connection(j, resource, token.Scopes, ""))
	s.see(w, r, continuePath, j.ID)
}

func (s *server) connection(j journey, resource store.Resource, scopes []string, refusal string) Outcome {
	return Outcome{
		Kind: "connection", Zone: j.zone.ID, User: j.user.Identifier, Application: j.app.Identifier,
		Resource: resource.Identifier, Scopes: scopes, Session: j.session.ID, Refusal: refusal,
	}
}

// returned checks the state that came back, and uses it up. awaited is the
// interaction as it was before.
func (s *server) returned(r *http.Request, state string) (j journey, awaited store.Interaction, err error) {
	id, secret, _ := strings.Cut(state, ".")
	err = s.Store.Do(func(tx *store.Tx) error {
		if j, err = s.travel(tx, r, id); err != nil {
			return err
		}
		if !j.Upstream.Matches(secret) {
			return errLost
		}
		awaited = j.Interaction
		j.Upstream, j.UpstreamResource = store.Digest{}, ""
		j.Interaction, err = tx.Interactions.Replace(j.Interaction)
		return err
	})
	return j, awaited, err
}

// declined ends the interaction because the person said no at the provider.
func (s *server) declined(w http.ResponseWriter, r *http.Request, j journey, resource store.Resource, code, text string) {
	s.Observe(r.Context(), s.connection(j, resource, nil, code+": "+text))
	if code != "access_denied" {
		code = "server_error"
	}
	if text == "" {
		text = "The provider refused."
	}
	s.finishWith(w, r, j, url.Values{"error": {code}, "error_description": {resource.Name + ": " + text}})
}

// disconnected ends the interaction because the provider does not play along.
func (s *server) disconnected(w http.ResponseWriter, r *http.Request, j journey, resource store.Resource, err error) {
	upstream, ok := errors.AsType[*broker.UpstreamError](err)
	if !ok {
		s.failed(w, r, err)
		return
	}
	s.Observe(r.Context(), s.connection(j, resource, nil, upstream.Error()))
	s.finishWith(w, r, j, url.Values{"error": {"server_error"}, "error_description": {resource.Name + ": " + upstream.Error()}})
}
