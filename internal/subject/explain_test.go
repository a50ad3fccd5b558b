// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"errors"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

func TestExplain(t *testing.T) {
	remote := func(class keycard.Class, code string, status int) error {
		return &keycard.Error{Op: "exchanging the token", Class: class, Code: code, Status: status, Description: "its words"}
	}
	consent, rejected := remote(keycard.NeedsConsent, "insufficient_authorization", 400), remote(keycard.Misconfigured, "invalid_target", 400)
	noClient, down := remote(keycard.Misconfigured, "invalid_client", 401), remote(keycard.Transient, "", 0)
	ref := &v1alpha1.SecretKeyReference{Name: "alice", Key: "token"}
	user := v1alpha1.Subject{User: "alice@example.com"}
	access, session, itself := v1alpha1.Subject{AccessTokenSecretRef: ref}, v1alpha1.Subject{RefreshTokenSecretRef: ref}, v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}
	const person, transient = problem.KindPerson, problem.KindTransient
	for name, tc := range map[string]struct {
		err     error
		subject v1alpha1.Subject
		context Context
		account string
		kind    problem.Kind
		reason  string
		says    []string
	}{
		"consent of a user":                {err: consent, subject: user, kind: person, reason: v1alpha1.ReasonConsentRequired, says: []string{"its words", "alice@example.com has not consented to the resource https://api"}},
		"consent behind a token":           {err: consent, subject: access, kind: person, reason: v1alpha1.ReasonConsentRequired, says: []string{"whose access token is in key token of Secret alice has not consented"}},
		"consent behind a session":         {err: consent, subject: session, kind: person, reason: v1alpha1.ReasonConsentRequired, says: []string{"whose session is in key token of Secret alice has not consented"}},
		"consent of an application":        {err: consent, subject: itself, kind: person, reason: v1alpha1.ReasonConsentRequired, says: []string{"acts for itself"}},
		"a token that is no good":          {err: remote(keycard.Misconfigured, "invalid_grant", 400), subject: access, kind: person, reason: v1alpha1.ReasonSubjectTokenRejected, says: []string{"in key token of Secret reports/alice"}},
		"the same for a session":           {err: remote(keycard.Misconfigured, "invalid_grant", 400), subject: session, kind: person, reason: v1alpha1.ReasonRequestRejected, says: []string{"its words"}},
		"another mistake with a token":     {err: rejected, subject: access, kind: person, reason: v1alpha1.ReasonRequestRejected, says: []string{"its words"}},
		"a client":                         {err: noClient, subject: user, kind: person, reason: v1alpha1.ReasonClientRejected, says: []string{"refuses the client id or client secret"}},
		"a workload":                       {err: noClient, subject: user, account: "app", kind: person, reason: v1alpha1.ReasonClientRejected, says: []string{"ServiceAccount app", "workloadRegistration"}},
		"a workload that is registered":    {err: noClient, subject: user, account: "app", context: Context{Registers: true}, kind: transient, reason: v1alpha1.ReasonClientRejected, says: []string{"ServiceAccount app yet", "its words"}},
		"a workload that never is":         {err: noClient, subject: user, account: "app", context: Context{Registers: true, Failures: registrationAttempts}, kind: person, reason: v1alpha1.ReasonClientRejected, says: []string{"workloadRegistration"}},
		"nobody with that address":         {err: rejected, subject: user, context: Context{Person: Person{Identifier: "alice@example.com", unknown: true}}, kind: person, reason: v1alpha1.ReasonConsentRequired, says: []string{"The zone knows no user with the identifier or e-mail address alice@example.com"}},
		"an identifier that is refused":    {err: rejected, subject: user, context: Context{Person: Person{Identifier: "alice"}}, kind: person, reason: v1alpha1.ReasonRequestRejected, says: []string{"its words"}},
		"no look-up, which passes":         {err: rejected, subject: user, context: Context{Person: Person{failed: down}}, kind: transient, reason: v1alpha1.ReasonZoneUnreachable, says: []string{"The operator retries"}},
		"no look-up, which a person has":   {err: rejected, subject: user, context: Context{Person: Person{failed: noClient}}, kind: person, reason: v1alpha1.ReasonRequestRejected, says: []string{"its words", "The user could not be looked up by the e-mail address: ", "refuses the client id"}},
		"no look-up, by the cluster":       {err: rejected, subject: user, context: Context{Person: Person{failed: problem.Cluster("reading Secret a", errors.New("secret words"))}}, kind: person, reason: v1alpha1.ReasonRequestRejected, says: []string{"could not be looked up by the e-mail address: Reading Secret a failed: "}},
		"no look-up, and the zone is down": {err: down, subject: user, context: Context{Person: Person{failed: noClient}}, kind: transient, reason: v1alpha1.ReasonZoneUnreachable, says: []string{"its words"}},
		"a problem of the cluster":         {err: &problem.Problem{Kind: problem.KindWaiting, Reason: v1alpha1.ReasonSecretNotFound, Cause: "none"}, subject: access, kind: problem.KindWaiting, reason: v1alpha1.ReasonSecretNotFound, says: []string{"none"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := tc.context
			c.Resource, c.Binding = "https://api", &v1alpha1.ConfluenceTokenBinding{}
			c.Binding.Namespace, c.Binding.Spec.Subject, c.Binding.Spec.Application.ServiceAccountName = "reports", tc.subject, tc.account
			p, ok := errors.AsType[*problem.Problem](Explain(tc.err, c))
			if !ok || p.Kind != tc.kind || p.Reason != tc.reason {
				t.Fatalf("got %+v", p)
			}
			for _, part := range tc.says {
				if !strings.Contains(p.Message(), part) {
					t.Errorf("does not say %q: %s", part, p.Message())
				}
			}
			if strings.Contains(p.Message(), "secret words") {
				t.Errorf("quotes the cluster: %s", p.Message())
			}
		})
	}
	cluster := errors.New("reading Secret a: timeout")
	if got := Explain(cluster, Context{Binding: &v1alpha1.ConfluenceTokenBinding{}}); got != cluster {
		t.Errorf("an error of the cluster became %v", got)
	}
	if got := Explain(nil, Context{Binding: &v1alpha1.ConfluenceTokenBinding{}}); got != nil {
		t.Errorf("no error became %v", got)
	}
}
