// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"

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

// tokenCredentialView has the two fields that only this type has. There is no
// subject when any is accepted.
type tokenCredentialView struct {
	credentialView
	ProviderID string  `json:"provider_id"`
	Subject    *string `json:"subject,omitempty"`
}

var credentials = kind[store.Credential]{
	shape: legacy,
	table: func(tx *store.Tx) *store.Table[store.Credential] { return tx.Credentials },
	view:  func(c *call, x store.Credential) any { return c.credentialView(x, c.secret) },
	empty: func(c *call) store.Credential {
		return store.Credential{Meta: store.Meta{ZoneID: c.zone.ID}}
	},
	fields: func(c *call, x *store.Credential, creating bool) fields {
		if !creating {
			return changedCredential(x)
		}
		return newCredential(c, x)
	},
	filters: either(filters[store.Credential]{
		"slug": is(func(x store.Credential) string { return x.Slug }),
	}, "applicationId", "application_id", is(func(x store.Credential) string { return x.ApplicationID })),
	insert: func(c *call, x store.Credential) (store.Credential, error) {
		if x.Type != store.CredentialToken {
			x.Identifier = cmp.Or(x.Identifier, store.NewID())
		}
		if x.Type == store.CredentialPassword {
			c.secret = store.NewSecret()
			x.Password = store.DigestOf(c.secret)
		}
		return c.tx.Credentials.Insert(x)
	},
}

// ownedCredentials are the credentials of one application.
var ownedCredentials = kind[store.Credential]{
	shape: legacy,
	table: credentials.table,
	view:  credentials.view,
	within: func(c *call) (func(store.Credential) bool, error) {
		app, err := c.application()
		return func(x store.Credential) bool { return x.ApplicationID == app.ID }, err
	},
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

// newCredential are the fields of a create body, which depend on the type.
func newCredential(c *call, x *store.Credential) fields {
	identifier := text("identifier", false, &x.Identifier, isIdentifier)
	choices := map[string]fields{
		store.CredentialToken: {
			text("provider_id", true, &x.ProviderID, exists(c.tx.Providers, x.ZoneID, "provider")),
			nullableText("subject", &x.Subject, isNotEmpty),
		},
		store.CredentialPassword:  {identifier},
		store.CredentialPublic:    {identifier},
		store.CredentialPublicKey: {text("jwks_uri", true, &x.JWKSURI, isURL), identifier},
		store.CredentialURL:       {text("identifier", true, &x.Identifier, isURL)},
	}
	return fields{
		text("application_id", true, &x.ApplicationID, exists(c.tx.Applications, x.ZoneID, "application")),
		choice(text("type", true, &x.Type, isOneOf(store.CredentialToken, store.CredentialPassword, store.CredentialPublicKey,
			store.CredentialURL, store.CredentialPublic)), &x.Type, choices),
	}
}

// changedCredential are the few fields that an update may change: the subject of
// a token and the identifier of a url.
func changedCredential(x *store.Credential) fields {
	return fields{choice(text("type", false, &x.Type, isOneOf(x.Type)), &x.Type, map[string]fields{
		store.CredentialToken: {nullableText("subject", &x.Subject, isNotEmpty)},
		store.CredentialURL:   {text("identifier", false, &x.Identifier, isURL)},
	})}
}
