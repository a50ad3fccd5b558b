// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import (
	"context"

	"github.com/keycardai/keycard-operator/devzone/audit"
	"github.com/keycardai/keycard-operator/devzone/oauth"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/signin"
)

// recorder turns what the zone's endpoints report into events of the audit log.
type recorder struct {
	log *audit.Log
}

// Record keeps the record of a token request.
func (r recorder) Record(ctx context.Context, x oauth.Exchange) error {
	return r.log.Record(ctx, audit.Event{
		ZoneID: x.ZoneID, Type: audit.IssueCredentials, Error: x.Error, Description: x.Description,
		RequestID: x.RequestID, GrantType: x.GrantType, Impersonate: x.Impersonate,
		Actor:     audit.Actor{Application: x.Application, ClientID: x.ClientID, User: x.Subject, Workload: x.Workload},
		Target:    audit.Target{Resource: x.Resource, RequestedScopes: x.Requested, GrantedScopes: x.Granted},
		Policy:    policyOf(x.Decision),
		SessionID: x.SessionID, TokenID: x.TokenID,
	})
}

func policyOf(d *policy.Decision) *audit.Policy {
	if d == nil {
		return nil
	}
	word := map[bool]string{true: "allow", false: "deny"}
	p := &audit.Policy{Set: d.Set, Version: d.Version, Determining: d.Policies, Decision: word[d.Allowed], Errors: d.Errors}
	if d.Shadow != nil {
		p.ShadowDecision = word[d.Shadow.Allowed]
	}
	return p
}

// observe keeps what a person did in the browser. It can't be undone, so that a
// log that can't be written is left to the store, which stops the server.
func (r recorder) observe(ctx context.Context, o signin.Outcome) {
	e := audit.Event{
		ZoneID: o.Zone, Type: map[string]string{"sign-in": audit.SignIn, "consent": audit.Consent, "connection": audit.Connect}[o.Kind],
		Actor:     audit.Actor{Application: o.Application, User: o.User},
		Target:    audit.Target{Resource: o.Resource, GrantedScopes: o.Scopes},
		SessionID: o.Session,
	}
	if o.Refusal != "" {
		e.Error, e.Description = "access_denied", o.Refusal
	}
	_ = r.log.Record(ctx, e)
}
