// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import "github.com/keycardai/keycard-operator/devzone/store"

type secretView struct {
	base
	EntityID    string  `json:"entity_id"`
	Name        string  `json:"name"`
	Description *string `json:"description,omitempty"`
	Type        string  `json:"type"`
	Version     int     `json:"version"`
	// Data is there when one secret is read.
	Data *store.SecretData `json:"data,omitempty"`
}

var isSecretType = []string{store.SecretToken, store.SecretPassword}

// secrets are those that a zone keeps. Their list is a bare array without values; one that is read
// by its id has its value.
var secrets = kind[store.Secret]{
	shape: bare,
	table: func(tx *store.Tx) *store.Table[store.Secret] { return tx.Secrets },
	view: func(c *call, x store.Secret) any {
		v := secretView{
			base: plain(x.Meta), EntityID: x.EntityID, Name: x.Name, Description: x.Description, Type: x.Type, Version: x.Version,
		}
		if c.reads() && c.r.PathValue("id") != "" {
			v.Data = &x.Data
		}
		return v
	},
	empty: func(c *call) store.Secret { return store.Secret{Meta: store.Meta{ZoneID: c.zone.ID}} },
	fields: func(_ *call, x *store.Secret, creating bool) fields {
		out := fields{
			text("name", creating, &x.Name, isName),
			nullableText("description", &x.Description, isDescription),
			secretData(x, creating),
		}
		if creating {
			out = append(out, text("entity_id", true, &x.EntityID, isName))
		}
		return out
	},
	filters: filters[store.Secret]{
		"type":      is(func(x store.Secret) string { return x.Type }, isSecretType...),
		"entity_id": is(func(x store.Secret) string { return x.EntityID }),
	},
}

// secretData is the value, which is replaced as a whole by one of the same type.
func secretData(x *store.Secret, creating bool) field {
	in := func(d *store.SecretData) fields {
		return fields{choice(text("type", true, &d.Type, isOneOf(isSecretType...)), &d.Type, map[string]fields{
			store.SecretToken:    {text("token", true, &d.Token, isNotEmpty)},
			store.SecretPassword: {text("username", true, &d.Username, isNotEmpty), text("password", true, &d.Password, isNotEmpty)},
		})}
	}
	return field{name: "data", in: in(new(store.SecretData)), read: func(o object) {
		v := o.object("data")
		if !v.set || v.null {
			if creating || v.null {
				o.problem("data", "is required")
			}
			return
		}
		var next store.SecretData
		in(&next).read(v.value)
		if !creating && next.Type != x.Type {
			o.problem("data.type", "can't be changed: make another secret")
		}
		x.Type, x.Data = next.Type, next
		x.Version++
	}}
}
