// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// maxCredentialDescription is in characters.
const maxCredentialDescription = 500

type serviceAccountView struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

type accountCredentialView struct {
	ID          string     `json:"id"`
	ClientID    string     `json:"client_id"`
	Name        string     `json:"name"`
	Description *string    `json:"description,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	LastUsedAt  *time.Time `json:"last_used_at,omitempty"`
	// ClientSecret is in the answer to the create only.
	ClientSecret string `json:"client_secret,omitempty"`
}

// serviceAccountRoutes registers the organization's service accounts, which call
// this API, and their credentials.
func (s *server) serviceAccountRoutes() {
	const path = "/organizations/{organization}/service-accounts"
	s.inOrganization("GET "+path, s.listServiceAccounts)
	s.inOrganization("POST "+path, s.createServiceAccount)
	s.inOrganization("GET "+path+"/{account}", s.getServiceAccount)
	s.inOrganization("PATCH "+path+"/{account}", s.updateServiceAccount)
	s.inOrganization("DELETE "+path+"/{account}", s.deleteServiceAccount)
	s.inOrganization("GET "+path+"/{account}/credentials", s.listAccountCredentials)
	s.inOrganization("POST "+path+"/{account}/credentials", s.createAccountCredential)
	s.inOrganization("GET "+path+"/{account}/credentials/{credential}", s.getAccountCredential)
	s.inOrganization("DELETE "+path+"/{account}/credentials/{credential}", s.deleteAccountCredential)
}

func serviceAccountViewOf(a store.ServiceAccount) serviceAccountView {
	return serviceAccountView{ID: a.ID, Name: a.Name, Description: a.Description, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt}
}

func (s *server) listServiceAccounts(r *http.Request, _ store.Organization) (any, error) {
	return s.organizationItems(r, func(tx *store.Tx) []item {
		var items []item
		for _, a := range tx.ServiceAccounts.All("", nil) {
			items = append(items, item{seq: a.Seq, view: serviceAccountViewOf(a)})
		}
		return items
	})
}

func (s *server) createServiceAccount(r *http.Request, _ store.Organization) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	// Its credentials are made apart; the id keeps the client id unique.
	a := store.ServiceAccount{Meta: store.Meta{ID: store.NewID()}, Role: store.RoleManager}
	a.ClientID = a.ID
	o.text("name", true, &a.Name, isName)
	o.nullableText("description", &a.Description, isDescription)
	if err := o.err(); err != nil {
		return nil, err
	}
	err = s.Store.Do(func(tx *store.Tx) error {
		a, err = tx.ServiceAccounts.Insert(a)
		return err
	})
	return serviceAccountViewOf(a), err
}

func (s *server) getServiceAccount(r *http.Request, _ store.Organization) (any, error) {
	var a store.ServiceAccount
	err := s.Store.View(func(tx *store.Tx) (err error) {
		a, err = tx.ServiceAccounts.Get("", r.PathValue("account"))
		return err
	})
	return serviceAccountViewOf(a), err
}

func (s *server) updateServiceAccount(r *http.Request, _ store.Organization) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	var a store.ServiceAccount
	err = s.Store.Do(func(tx *store.Tx) error {
		if a, err = tx.ServiceAccounts.Get("", r.PathValue("account")); err != nil {
			return err
		}
		o.text("name", false, &a.Name, isName)
		o.nullableText("description", &a.Description, isDescription)
		if err := o.err(); err != nil {
			return err
		}
		a, err = tx.ServiceAccounts.Replace(a)
		return err
	})
	return serviceAccountViewOf(a), err
}

func (s *server) deleteServiceAccount(r *http.Request, _ store.Organization) (any, error) {
	if caller(r).ID == r.PathValue("account") {
		return nil, forbidden("a service account can't delete itself")
	}
	return nil, s.Store.Do(func(tx *store.Tx) error { return tx.DeleteServiceAccount(r.PathValue("account")) })
}

func accountCredentialViewOf(c store.AccountCredential) accountCredentialView {
	return accountCredentialView{
		ID: c.ID, ClientID: c.ClientID, Name: c.Name, Description: c.Description, CreatedAt: c.CreatedAt, LastUsedAt: c.LastUsedAt,
	}
}

func (s *server) listAccountCredentials(r *http.Request, _ store.Organization) (any, error) {
	if _, err := s.getServiceAccount(r, store.Organization{}); err != nil {
		return nil, err
	}
	return s.organizationItems(r, func(tx *store.Tx) []item {
		var items []item
		for _, c := range tx.AccountCredentials.All("", func(c store.AccountCredential) bool { return c.AccountID == r.PathValue("account") }) {
			items = append(items, item{seq: c.Seq, view: accountCredentialViewOf(c)})
		}
		return items
	})
}

func (s *server) createAccountCredential(r *http.Request, _ store.Organization) (any, error) {
	o, err := readObject(r)
	if err != nil {
		return nil, err
	}
	secret := store.NewSecret()
	c := store.AccountCredential{AccountID: r.PathValue("account"), ClientID: store.NewID(), ClientSecret: store.DigestOf(secret)}
	o.text("name", true, &c.Name, isName)
	o.nullableText("description", &c.Description, func(text string) string { return safeText(text, 0, maxCredentialDescription) })
	if err := o.err(); err != nil {
		return nil, err
	}
	err = s.Store.Do(func(tx *store.Tx) error {
		if _, err := tx.ServiceAccounts.Get("", c.AccountID); err != nil {
			return err
		}
		c, err = tx.AccountCredentials.Insert(c)
		return err
	})
	out := accountCredentialViewOf(c)
	out.ClientSecret = secret
	return out, err
}

func findAccountCredential(tx *store.Tx, r *http.Request) (store.AccountCredential, error) {
	c, err := tx.AccountCredentials.Get("", r.PathValue("credential"))
	if err == nil && c.AccountID != r.PathValue("account") {
		err = &store.NotFoundError{Kind: "service account credential", ID: c.ID}
	}
	return c, err
}

func (s *server) getAccountCredential(r *http.Request, _ store.Organization) (any, error) {
	var c store.AccountCredential
	err := s.Store.View(func(tx *store.Tx) (err error) {
		c, err = findAccountCredential(tx, r)
		return err
	})
	return accountCredentialViewOf(c), err
}

func (s *server) deleteAccountCredential(r *http.Request, _ store.Organization) (any, error) {
	return nil, s.Store.Do(func(tx *store.Tx) error {
		c, err := findAccountCredential(tx, r)
		if err != nil {
			return err
		}
		return tx.AccountCredentials.Delete("", c.ID)
	})
}

// checkCredential checks a client id and secret that were made here, and notes
// the use.
func (s *server) checkCredential(id, secret string) (store.ServiceAccount, error) {
	var account store.ServiceAccount
	matched := false
	err := s.Store.Do(func(tx *store.Tx) error {
		c, known := tx.AccountCredentials.Find("", id)
		// The comparison runs for unknown clients too, so that the time taken does
		// not tell them apart.
		if matched = c.ClientSecret.Matches(secret) && known; !matched {
			return nil
		}
		c.LastUsedAt = s.now()
		if _, err := tx.AccountCredentials.Replace(c); err != nil {
			return err
		}
		var err error
		account, err = tx.ServiceAccounts.Get("", c.AccountID)
		return err
	})
	if err == nil && !matched {
		err = &oauthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "unknown client or wrong secret"}
	}
	return account, err
}
