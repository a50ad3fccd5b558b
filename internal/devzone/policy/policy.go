// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policy decides whether an application may have a token. Everything
// that the decision needs is in the Request, so that a policy language can take
// the place of the built-in rules without a change to the callers.
package policy

import (
	"fmt"
	"strings"

	"github.com/keycardai/keycard-operator/internal/devzone/store"
)

// Names of the policy set and policies that a fresh zone has.
const (
	defaultSet     = "default-zone-policies"
	userGrants     = "default-user-grants"
	appDelegation  = "default-app-delegation"
	appDirect      = "default-app-direct-access"
	seedPermits    = "seed-impersonation"
	defaultVersion = 1
)

// Request is one question: may this application have a token for this resource?
type Request struct {
	Zone        store.Zone
	Application store.Application
	Resource    store.Resource
	// Subject is the user on whose behalf the application asks; nil when it
	// asks for itself.
	Subject *store.User
	// Impersonate is true when the user takes no part in the request.
	Impersonate bool
	// Scopes are the requested ones.
	Scopes []string
}

// Decision is the answer.
type Decision struct {
	Allowed bool
	// Set, Version and Policies tell what decided.
	Set      string
	Version  int
	Policies []string
}

// Denial words a negative decision for an error_description, in the form the
// hosted service uses.
func (d Decision) Denial() string {
	return fmt.Sprintf("Access denied by policy. Policy set: %s. Policy set version: %d. Determining policies: %s.",
		d.Set, d.Version, strings.Join(d.Policies, ", "))
}

// Decide applies the rules of a fresh zone: delegation by a present user and
// direct access are allowed, impersonation is forbidden unless the zone has a
// permit for exactly this application and this user.
func Decide(q Request) Decision {
	d := Decision{Set: defaultSet, Version: defaultVersion}
	switch {
	case q.Subject == nil:
		d.Allowed, d.Policies = true, []string{appDirect}
	case !q.Impersonate:
		d.Allowed, d.Policies = true, []string{userGrants, appDelegation}
	default:
		d.Policies = []string{userGrants}
		for _, p := range q.Zone.Impersonation {
			if p.ApplicationIdentifier == q.Application.Identifier && p.UserIdentifier == q.Subject.Identifier {
				d.Allowed, d.Policies = true, []string{seedPermits}
			}
		}
	}
	return d
}
