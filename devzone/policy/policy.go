// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policy decides by the access policies of a zone, written in Cedar,
// whether an application may have a token, and with which scopes.
//
// Nothing is allowed that no policy permits, and a forbid beats every permit. A
// token on behalf of a user takes two decisions, one with the user as the
// principal and one with the application: both must allow it.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Cedar names of the schema. Identities of entities are the zone's internal
// ids, so that policies match attributes such as principal.identifier.
const (
	userType        = "Keycard::User"
	applicationType = "Keycard::Application"
	resourceType    = "Keycard::Resource"
	actionType      = "Keycard::Action"
	issueAction     = "credentials:issue"
)

// Request is one question: may this application have a token for this resource?
type Request struct {
	Application store.Application
	// CredentialType is how the application authenticated: a credential type of
	// the store.
	CredentialType string
	// Registration is "managed" or, for a client that registered itself, "dcr".
	Registration string
	// Dependencies are the identifiers of the resources that the application
	// depends on.
	Dependencies []string
	Resource     store.Resource
	// Subject is the user on whose behalf the application asks; nil when it
	// asks for itself.
	Subject *store.User
	// Impersonate is true when the user takes no part in the request.
	Impersonate bool
	// Scopes are the requested ones. Each is decided by itself.
	Scopes []string
	// ActorClaims and SubjectClaims are the claims of actor_token and
	// subject_token, as JSON has them; nil when there was no such token.
	ActorClaims, SubjectClaims map[string]any
}

// Decision is the answer.
type Decision struct {
	Allowed bool
	// Scopes are the requested scopes that are permitted.
	Scopes []string
	// Set, Version and Policies tell what decided: the policies that permit, or
	// those that forbid; when nothing permits, those that permitted the other
	// half of a delegated decision.
	Set      string
	Version  int
	Policies []string
	// Refusing are the policies that determined the refusal of a scope, when
	// others were permitted.
	Refusing []string
	// Errors are policies that could not be evaluated and counted for nothing.
	Errors []string
	// Shadow is what the shadow set of the zone says; nil without one.
	Shadow *Decision
}

// Denial words a negative decision for an error_description, in the form the
// hosted service uses.
func (d Decision) Denial() string {
	return fmt.Sprintf("Access denied by policy. Policy set: %s. Policy set version: %d. Determining policies: %s.",
		d.Set, d.Version, strings.Join(d.Policies, ", "))
}

// compiled is a set version that is ready to be evaluated.
type compiled struct {
	version int
	// policies are keyed "<id>#<number of the statement>".
	policies *cedar.PolicySet
}

// namer gives the name of the policy with an id.
type namer func(policyID string) string

// decide answers the question by the set.
func (c *compiled) decide(q Request, name namer) Decision {
	d := Decision{Version: c.version}
	base := newFacts(q)
	if len(q.Scopes) == 0 {
		d.Allowed, d.Policies, d.Errors = c.evaluate(base, q, nil, name)
		return d
	}
	var permits []string
	for _, scope := range q.Scopes {
		allowed, policies, problems := c.evaluate(base, q, []string{scope}, name)
		d.Errors = union(d.Errors, problems)
		if !allowed {
			d.Refusing = union(d.Refusing, policies)
			continue
		}
		d.Allowed = true
		d.Scopes = append(d.Scopes, scope)
		permits = union(permits, policies)
	}
	if d.Allowed {
		d.Policies = permits
	} else {
		d.Policies, d.Refusing = d.Refusing, nil
	}
	return d
}

// evaluate takes the decisions for the user and for the application. Both must
// allow; when one does not, what forbade is what determined it, if anything did.
func (c *compiled) evaluate(f facts, q Request, scopes []string, name namer) (allowed bool, policies, problems []string) {
	context := f.context(q, scopes)
	principals := []cedar.EntityUID{f.application}
	if q.Subject != nil {
		principals = []cedar.EntityUID{f.subject, f.application}
	}
	allowed = true
	var forbids []string
	for _, principal := range principals {
		decision, diagnostic := cedar.Authorize(c.policies, f.entities, cedar.Request{
			Principal: principal, Action: cedar.NewEntityUID(actionType, issueAction), Resource: f.resource, Context: context,
		})
		var names []string
		for _, reason := range diagnostic.Reasons {
			names = union(names, []string{name.of(reason.PolicyID)})
		}
		for _, e := range diagnostic.Errors {
			problems = union(problems, []string{name.of(e.PolicyID) + ": " + e.Message})
		}
		policies = union(policies, names)
		if decision == cedar.Deny {
			allowed = false
			forbids = union(forbids, names)
		}
	}
	if !allowed && len(forbids) > 0 {
		policies = forbids
	}
	return allowed, policies, problems
}

// of names the policy that a statement belongs to.
func (name namer) of(statement cedar.PolicyID) string {
	id, _, _ := strings.Cut(string(statement), statementMark)
	return name(id)
}

// union appends what is not there yet and keeps names in order, because Cedar
// gives them in none.
func union(all, more []string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
