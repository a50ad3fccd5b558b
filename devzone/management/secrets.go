// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

type secretView struct {
	ID          string    `json:"id"`
	ZoneID      string    `json:"zone_id"`
	EntityID    string    `json:"entity_id"`
	Name        string    `json:"name"`
	Description *string   `json:"description,omitempty"`
	Type        string    `json:"type"`
	Version     int       `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	// Data is there when one secret is read.
	Data *store.SecretData `json:"data,omitempty"`
}

// secretRoutes registers the secrets that a zone keeps. Their list is a bare
// array without values; one that is read by its id has its value.
func (s *server) secretRoutes() {
	const path = "/zones/{zone}/secrets"
	secrets := collection[store.Secret, *store.Secret]{
		server: s,
		table:  func(tx *store.Tx) *store.Table[store.Secret, *store.Secret] { return tx.Secrets },
		meta:   func(x store.Secret) store.Meta { return x.Meta },
		view:   func(_ *store.Tx, x store.Secret) any { return secretViewOf(x) },
		read:   readSecret,
		empty:  func(zoneID string) store.Secret { return store.Secret{Meta: store.Meta{ZoneID: zoneID}} },
		frozen: func(store.Secret) bool { return false },
		create: func(tx *store.Tx, x store.Secret) (store.Secret, error) { return tx.Secrets.Insert(x) },
		remove: func(tx *store.Tx, x store.Secret) error { return tx.Secrets.Delete(x.ZoneID, x.ID) },
	}
	s.inZone("GET "+path, s.listSecrets)
	s.inZone("POST "+path, secrets.post)
	s.inZone("GET "+path+"/{id}", s.getSecret)
	s.inZone("PATCH "+path+"/{id}", secrets.patch)
	s.inZone("DELETE "+path+"/{id}", secrets.delete)
}

func secretViewOf(x store.Secret) secretView {
	return secretView{
		ID: x.ID, ZoneID: x.ZoneID, EntityID: x.EntityID, Name: x.Name, Description: x.Description, Type: x.Type,
		Version: x.Version, CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt,
	}
}

func readSecret(_ *store.Tx, o object, x *store.Secret, creating bool) {
	if creating {
		o.text("entity_id", true, &x.EntityID, isName)
	}
	o.text("name", creating, &x.Name, isName)
	o.nullableText("description", &x.Description, isDescription)
	data := o.object("data")
	if !data.set || data.null {
		if creating || data.null {
			o.problem("data", "is required")
		}
		return
	}
	var value store.SecretData
	data.value.text("type", true, &value.Type, isOneOf(store.SecretToken, store.SecretPassword))
	data.value.text("token", value.Type == store.SecretToken, &value.Token, isNotEmpty)
	data.value.text("username", value.Type == store.SecretPassword, &value.Username, isNotEmpty)
	data.value.text("password", value.Type == store.SecretPassword, &value.Password, isNotEmpty)
	if !creating && value.Type != x.Type {
		o.problem("data.type", "can't be changed: make another secret")
	}
	x.Type, x.Data = value.Type, value
	x.Version++
}

func (s *server) listSecrets(r *http.Request) (any, error) {
	q := r.URL.Query()
	kind := q.Get("type")
	if kind != "" && kind != store.SecretToken && kind != store.SecretPassword {
		return nil, badRequest("type: must be one of %s, %s", store.SecretToken, store.SecretPassword)
	}
	out := []secretView{}
	err := s.Store.View(func(tx *store.Tx) error {
		for _, x := range tx.Secrets.All(r.PathValue("zone"), func(x store.Secret) bool {
			return equals(kind, x.Type) && equals(q.Get("entity_id"), x.EntityID)
		}) {
			out = append(out, secretViewOf(x))
		}
		return nil
	})
	return out, err
}

func (s *server) getSecret(r *http.Request) (any, error) {
	var out secretView
	err := s.Store.View(func(tx *store.Tx) error {
		x, err := tx.Secrets.Get(r.PathValue("zone"), r.PathValue("id"))
		out = secretViewOf(x)
		out.Data = &x.Data
		return err
	})
	return out, err
}
