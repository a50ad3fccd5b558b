// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"net/url"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type credentialView struct {
	base
	ApplicationID string `json:"application_id"`
	Type          string `json:"type"`
	Identifier    string `json:"identifier"`
	// Password is there only in the answer to the create request.
	Password string `json:"password,omitempty"`
	JWKSURI  string `json:"jwks_uri,omitempty"`
}

// tokenCredentialView has the two fields that only this type has, subject
// being null when any subject is accepted.
type tokenCredentialView struct {
	credentialView
	ProviderID string  `json:"provider_id"`
	Subject    *string `json:"subject"`
}

func (s *server) credentialRoutes() {
	c := s.credentials()
	const path = "/zones/{zone}/application-credentials"
	s.inZone("GET "+path, c.list)
	s.inZone("POST "+path, s.createCredential)
	s.inZone("GET "+path+"/{id}", c.get)
	s.inZone("PATCH "+path+"/{id}", c.patch)
	s.inZone("DELETE "+path+"/{id}", c.delete)
	s.inZone("GET /zones/{zone}/applications/{id}/application-credentials", s.credentialsOf)
}

func (s *server) credentials() collection[store.Credential, *store.Credential] {
	return collection[store.Credential, *store.Credential]{
		server: s,
		legacy: true,
		table:  func(tx *store.Tx) *store.Table[store.Credential, *store.Credential] { return tx.Credentials },
		meta:   func(c store.Credential) store.Meta { return c.Meta },
		view:   func(_ *store.Tx, c store.Credential) any { return s.credentialView(c, "") },
		read:   readCredential,
		frozen: func(store.Credential) bool { return false },
		empty: func(zoneID string) store.Credential {
			return store.Credential{Meta: store.Meta{ZoneID: zoneID}}
		},
		filter: func(q url.Values) (func(store.Credential) bool, error) {
			app := either(q, "applicationId", "application_id")
			return func(c store.Credential) bool {
				return equals(app, c.ApplicationID) && equals(q.Get("slug"), c.Slug)
			}, nil
		},
		create: func(tx *store.Tx, c store.Credential) (store.Credential, error) { return tx.Credentials.Insert(c) },
		remove: func(tx *store.Tx, c store.Credential) error { return tx.Credentials.Delete(c.ZoneID, c.ID) },
	}
}

func (s *server) credentialView(c store.Credential, password string) any {
	v := credentialView{
		base:          s.base(c.Meta),
		ApplicationID: c.ApplicationID,
		Type:          c.Type,
		Identifier:    c.Identifier,
		Password:      password,
		JWKSURI:       c.JWKSURI,
	}
	if c.Type != store.CredentialToken {
		return v
	}
	v.Identifier = "*"
	if c.Subject != nil {
		v.Identifier = *c.Subject
	}
	return tokenCredentialView{credentialView: v, ProviderID: c.ProviderID, Subject: c.Subject}
}

var isCredentialType = isOneOf(store.CredentialToken, store.CredentialPassword, store.CredentialPublicKey,
	store.CredentialURL, store.CredentialPublic)

// readCredential reads a create body, or the few fields that an update may
// change: the subject of a token and the identifier of a url.
func readCredential(tx *store.Tx, o object, c *store.Credential, creating bool) {
	if !creating {
		o.text("type", false, &c.Type, isOneOf(c.Type))
		switch c.Type {
		case store.CredentialToken:
			o.nullableText("subject", &c.Subject, isNotEmpty)
		case store.CredentialURL:
			o.text("identifier", false, &c.Identifier, isURL)
		}
		return
	}
	o.text("application_id", true, &c.ApplicationID, exists(tx.Applications, c.ZoneID, "application"))
	o.text("type", true, &c.Type, isCredentialType)
	switch c.Type {
	case store.CredentialToken:
		o.text("provider_id", true, &c.ProviderID, exists(tx.Providers, c.ZoneID, "provider"))
		o.nullableText("subject", &c.Subject, isNotEmpty)
	case store.CredentialPublicKey:
		o.text("jwks_uri", true, &c.JWKSURI, isURL)
		o.text("identifier", false, &c.Identifier, isIdentifier)
	case store.CredentialURL:
		o.text("identifier", true, &c.Identifier, isURL)
	default:
		o.text("identifier", false, &c.Identifier, isIdentifier)
	}
	if c.Type != store.CredentialToken && c.Identifier == "" {
		c.Identifier = store.NewID()
	}
}

// createCredential answers POST. It is not collection.post because a password
// is made here and shown once.
func (s *server) createCredential(r *http.Request) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	c := s.credentials()
	var out any
	err = s.Store.Do(func(tx *store.Tx) error {
		row := c.empty(r.PathValue("zone"))
		c.read(tx, o, &row, true)
		if err := o.err(); err != nil {
			return err
		}
		password := ""
		if row.Type == store.CredentialPassword {
			password = store.NewSecret()
			row.Password = store.DigestOf(password)
		}
		row, err := c.create(tx, row)
		if err != nil {
			return err
		}
		out = s.credentialView(row, password)
		return nil
	})
	return out, err
}

// credentialsOf lists the credentials of one application.
func (s *server) credentialsOf(r *http.Request) (any, error) {
	return listOf(s, r, true, func(tx *store.Tx) ([]item, error) {
		app, err := tx.Applications.Get(r.PathValue("zone"), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		var items []item
		for _, c := range tx.Credentials.All(app.ZoneID, nil) {
			if c.ApplicationID == app.ID {
				items = append(items, item{seq: c.Seq, view: s.credentialView(c, "")})
			}
		}
		return items, nil
	})
}
