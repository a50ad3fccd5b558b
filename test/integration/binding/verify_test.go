// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/faults"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// Each token is tried once, and a restart or another look tries nothing.
func TestProbeOncePerRotation(t *testing.T) {
	w := world.New(t)
	install, binding := w.Install(), w.Probing()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	if n := w.Requests.Count(world.ProbeCall); n != 1 {
		t.Errorf("the first token was tried %d times", n)
	}
	for range 2 {
		w.Clock.SetTime(binding.Status.RefreshAt.Time)
		w.Requests.Take()
		w.ReconcileBinding(binding)
		if n := w.Requests.Count(world.ProbeCall); n != 1 {
			t.Errorf("a token was tried %d times", n)
		}
		w.Requests.Take()
		w.Connect()
		w.ReconcileBinding(binding)
		w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
		if seen := w.Requests.Take(); len(seen) > 0 {
			t.Errorf("a restart asked %v", seen)
		}
	}
	binding.Spec.Verify = ""
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	w.Absent(binding, v1alpha1.ConditionVerified)
	if seen := w.Requests.Take(); len(seen) > 0 {
		t.Errorf("turning it off asked %v", seen)
	}
}

// A Confluence that does not answer is not asked for each binding: every probe would hold a worker until it is given up.
func TestProbesOfASilentConfluence(t *testing.T) {
	w := world.New(t)
	install, first := w.Install(), w.Probing()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	undo := w.Inject("atlassian GET /ex/confluence/", world.Slow)
	for i, want := range []int{1, 0, 0} {
		b := w.Probing()
		b.Name, b.Spec.Secret.Name = fmt.Sprint("reports-", i), fmt.Sprintf("reports-%d-token", i)
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
		w.Requests.Take()
		w.ReconcileBinding(b)
		w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.Expect(b, v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonProbeInconclusive)
		if n := w.Requests.Count(world.ProbeCall); n != want {
			t.Errorf("binding %d: tried %d times, want %d", i, n, want)
		}
	}
	undo()
	w.Clock.Step(time.Minute)
	must.Succeed(t, w.K8s.Create(w.Ctx, first))
	w.ReconcileBinding(first)
	w.Expect(first, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
}

// What Confluence says to a new token, and what that means. The token is there whatever it says.
func TestProbeVerdicts(t *testing.T) {
	unknown, no := metav1.ConditionUnknown, metav1.ConditionFalse
	unauthorized := world.ReplyJSON(401, `{"code":401,"message":"Unauthorized"}`)
	tests := map[string]struct {
		answer faults.Fault
		// sites, when set, is what the token is good for by now.
		sites  string
		status metav1.ConditionStatus
		reason string
	}{
		"the grant has ended":          {unauthorized, "", no, v1alpha1.ReasonTokenRefused},
		"a scope is missing":           {world.ReplyJSON(401, `{"code":401,"message":"Unauthorized; scope does not match"}`), "", no, v1alpha1.ReasonScopeMismatch},
		"the site blocks the app":      {world.ReplyJSON(403, `{"statusCode":403,"message":"blocked"}`), "", no, v1alpha1.ReasonAccessForbidden},
		"the site is gone":             {world.ReplyJSON(404, `{"statusCode":404}`), `[]`, no, v1alpha1.ReasonSiteNotFound},
		"the call is gone":             {world.ReplyJSON(404, `{"statusCode":404}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"nobody knows of the site":     {world.ReplyJSON(404, `{"statusCode":404}`), "nonsense", unknown, v1alpha1.ReasonProbeInconclusive},
		"the call is gone for good":    {world.ReplyJSON(410, `{}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence is down":           {world.ReplyJSON(503, `{}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence throttles":         {world.Throttled, "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence answers HTML":      {world.Reply(200, "text/html", "<html>"), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence answers 8 MB":      {world.Huge(), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence breaks off":        {world.HangUp, "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence is slow to answer": {world.Slow, "", unknown, v1alpha1.ReasonProbeInconclusive},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			install, binding := w.Install(), w.Probing()
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(install)
			w.ReconcileBinding(binding)

			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			undo := w.Inject("atlassian GET /ex/confluence/", tc.answer)
			undoSites := func() {}
			if tc.sites != "" {
				undoSites = w.Inject("atlassian GET /oauth/token/accessible-resources", world.ReplyJSON(200, tc.sites))
			}
			before := string(w.Output(binding).Data["token"])
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionVerified, tc.status, tc.reason)
			if string(w.Output(binding).Data["token"]) == before {
				t.Error("the token was withheld")
			}
			undo()
			undoSites()
			w.NoCanaries()
			if tc.status != no {
				w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
				return
			}
			w.Expect(binding, v1alpha1.ConditionReady, no, tc.reason)
			w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
			healsInTenMinutes(w, binding)
		})
	}
}

// healsInTenMinutes expects a refused token to be replaced after ten minutes, and not before.
func healsInTenMinutes(w *world.World, binding *v1alpha1.ConfluenceTokenBinding) {
	w.T.Helper()
	again := binding.Status.RefreshAt.Time
	if wait := again.Sub(w.Clock.Now()); wait < world.SlowRetry || wait > world.Slowest {
		w.T.Errorf("tries again after %s", wait)
	}
	w.Requests.Take()
	w.Clock.SetTime(again.Add(-time.Second))
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		w.T.Errorf("%d exchanges before the time", n)
	}
	w.Clock.SetTime(again)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(binding, v1alpha1.ConditionStalled)
}

// Scopes that open no read are no reason to call a token bad.
func TestNoProbeForTheScopes(t *testing.T) {
	w := world.New(t)
	install, binding := w.Install(), w.Probing()
	binding.Spec.Scopes = []v1alpha1.Scope{"write:confluence-content"}
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	undo := w.Inject(world.Exchanges, world.ReplyJSON(200, `{"access_token":"x","scope":"write:confluence-content","expires_in":3600}`))
	defer undo()
	defer w.Inject("atlassian GET /oauth/token/accessible-resources",
		world.ReplyJSON(200, `[{"id":"1","url":"https://acme.atlassian.net","scopes":["write:confluence-content"]}]`))()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonProbeUnavailable)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A site that blocks the app is found out by the real answer of the stand-in.
func TestProbeMeetsTheAppAccessPolicy(t *testing.T) {
	w := world.New(t, func(c *devzone.Config) {
		c.Seed = seed.Default()
		c.Seed.Atlassian.Sites[0].BlockedApps = []string{"atlassian-app"}
	})
	install, binding := w.Install(), w.Probing()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAccessForbidden)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// hands makes the zone hand out a token that Atlassian takes.
func hands(w *world.World, token string, seconds int) {
	w.T.Helper()
	w.Inject(world.Exchanges, world.ReplyJSON(200, fmt.Sprintf(`{"access_token":%q,"scope":"read:confluence-content.all","expires_in":%d}`, token, seconds)))
	w.Inject("atlassian GET /oauth/token/accessible-resources", world.ReplyJSON(200, `[{"id":"1","url":"`+world.Site+`","scopes":["read:confluence-content.all"]}]`))
	w.Inject("atlassian GET /ex/confluence/", world.ReplyJSON(200, `{"results":[]}`))
}

// A token that Confluence refuses is replaced by any other, though it lives shorter: at its time, and at once when somebody asks.
func TestRefusedTokenIsReplacedByAShorterOne(t *testing.T) {
	for name, asked := range map[string]bool{"after ten minutes": false, "when asked": true} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			install, binding := w.Install(), w.Probing()
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(install)
			undo := w.Inject("atlassian GET /ex/confluence/", world.ReplyJSON(401, `{"code":401,"message":"Unauthorized"}`))
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionFalse, v1alpha1.ReasonTokenRefused)
			undo()
			hands(w, "shorter", 600)
			if asked {
				w.Clock.Step(time.Minute)
				ask(w, binding, "she consented again")
			} else {
				w.Clock.SetTime(binding.Status.RefreshAt.Time)
			}
			w.ReconcileBinding(binding)
			if got := string(w.Output(binding).Data["token"]); got != "shorter" {
				t.Error("the refused token is still there")
			}
			w.Expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}
