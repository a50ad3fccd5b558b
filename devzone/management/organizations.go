// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"fmt"
	"net/http"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// maxCredentialDescription is in characters.
const maxCredentialDescription = 500

type organizationView struct {
	base
	Name       string `json:"name"`
	Label      string `json:"label"`
	SSOEnabled bool   `json:"sso_enabled"`
}

type serviceAccountView struct {
	base
	Name        string  `json:"name"`
	Description *string `json:"description,omitempty"`
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

type keyPolicyView struct {
	Policy string `json:"policy"`
}

// keyPolicy is the policy of a key at AWS that encrypts for an organization. Clients put the number
// of their account in.
const keyPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Sid":"Administration","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::<YOUR_AWS_ACCOUNT_ID>:root"},"Action":"kms:*","Resource":"*"},` +
	`{"Sid":"Encryption","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*",` +
	`"Condition":{"StringEquals":{"kms:EncryptionContext:organization_id":"%s"}}},` +
	`{"Sid":"Description","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:DescribeKey","Resource":"*"}]}`

// organizations are one. It has no people: nobody signs in to this management API.
var organizations = kind[store.Organization]{
	shape:   organizational,
	param:   "organization",
	expands: []string{"permissions"},
	shown:   []string{"expand[]"},
	table:   func(tx *store.Tx) *store.Table[store.Organization] { return tx.Organizations },
	view: func(_ *call, o store.Organization) any {
		return organizationView{base: plain(o.Meta), Name: o.Name, Label: o.Slug}
	},
	find: func(c *call, _ string) (store.Organization, bool) { return c.organization, true },
	fields: func(_ *call, o *store.Organization, creating bool) fields {
		return fields{text("name", creating, &o.Name, isName)}
	},
	insert: func(*call, store.Organization) (o store.Organization, err error) {
		return o, forbidden("this server has one organization, %s, and makes no other", store.OrganizationID)
	},
}

// serviceAccounts call this API.
var serviceAccounts = kind[store.ServiceAccount]{
	shape:   organizational,
	param:   "account",
	expands: []string{"permissions"},
	shown:   []string{"expand[]"},
	table:   func(tx *store.Tx) *store.Table[store.ServiceAccount] { return tx.ServiceAccounts },
	view: func(_ *call, a store.ServiceAccount) any {
		return serviceAccountView{base: plain(a.Meta), Name: a.Name, Description: a.Description}
	},
	empty: func(*call) store.ServiceAccount {
		// Its credentials are made apart; the id keeps the client id unique.
		id := store.NewID()
		return store.ServiceAccount{Meta: store.Meta{ID: id}, ClientID: id, Role: store.RoleManager}
	},
	fields: func(_ *call, a *store.ServiceAccount, creating bool) fields {
		return fields{text("name", creating, &a.Name, isName), nullableText("description", &a.Description, isDescription)}
	},
	remove: func(c *call, a store.ServiceAccount) error {
		if c.caller.ID == a.ID {
			return forbidden("a service account can't delete itself")
		}
		return c.tx.DeleteServiceAccount(a.ID)
	},
}

// accountCredentials are those of service accounts, besides the one that a seeded account has.
var accountCredentials = kind[store.AccountCredential]{
	shape: organizational,
	param: "credential",
	table: func(tx *store.Tx) *store.Table[store.AccountCredential] { return tx.AccountCredentials },
	view: func(c *call, x store.AccountCredential) any {
		return accountCredentialView{
			ID: x.ID, ClientID: x.ClientID, Name: x.Name, Description: x.Description, CreatedAt: x.CreatedAt,
			LastUsedAt: x.LastUsedAt, ClientSecret: c.secret,
		}
	},
	within: func(c *call) (func(store.AccountCredential) bool, error) {
		account, err := c.tx.ServiceAccounts.Get("", c.r.PathValue("account"))
		return func(x store.AccountCredential) bool { return x.AccountID == account.ID }, err
	},
	fields: func(_ *call, x *store.AccountCredential, _ bool) fields {
		return fields{
			text("name", true, &x.Name, isName),
			nullableText("description", &x.Description, func(text string) string { return safeText(text, 0, maxCredentialDescription) }),
		}
	},
	insert: func(c *call, x store.AccountCredential) (store.AccountCredential, error) {
		c.secret = store.NewSecret()
		x.AccountID, x.ClientID, x.ClientSecret = c.r.PathValue("account"), store.NewID(), store.DigestOf(c.secret)
		return c.tx.AccountCredentials.Insert(x)
	},
}

func (s *server) organizationRoutes() {
	const path = "/organizations/{organization}"
	organizations.serve(s, "/organizations", list|create|get|update)
	serviceAccounts.serve(s, path+"/service-accounts", all)
	accountCredentials.serve(s, path+"/service-accounts/{account}/credentials", list|create|get|remove)
	for _, name := range []string{"identities", "roles", "users", "invitations"} {
		s.add(operation{pattern: "GET " + path + "/" + name, params: organizational.params(), answer: func(c *call) (any, error) {
			return c.page(nil, false, organizational)
		}})
	}
	s.add(operation{pattern: "GET " + path + "/aws/key-policy", answer: func(c *call) (any, error) {
		return keyPolicyView{Policy: fmt.Sprintf(keyPolicy, c.organization.ID)}, nil
	}})
	for pattern, refusal := range map[string]error{
		"POST " + path + "/token":          forbidden("there are no people whose tokens could be exchanged: log in at /service-account-token"),
		"GET " + path + "/sso-connection":  notFound("single sign-on is not enabled"),
		"POST " + path + "/sso-connection": forbidden("this server has no people who could sign in"),
	} {
		s.add(operation{pattern: pattern, answer: func(*call) (any, error) { return nil, refusal }})
	}
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
