// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/faults"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// probing is a binding whose tokens are tried.
func (w *world) probing() *v1alpha1.ConfluenceTokenBinding {
	b := w.binding("reports")
	b.Spec.Verify = v1alpha1.VerifyProbe
	return b
}

const probeCall = "/wiki/rest/api/content"

// Each token is tried once, and a restart or another look tries nothing.
func TestProbeOncePerRotation(t *testing.T) {
	w := newWorld(t)
	install, binding := w.install(), w.probing()
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	if n := w.requests.count(probeCall); n != 1 {
		t.Errorf("the first token was tried %d times", n)
	}
	for range 2 {
		w.clock.SetTime(binding.Status.RefreshAt.Time)
		w.requests.take()
		w.reconcileBinding(binding)
		if n := w.requests.count(probeCall); n != 1 {
			t.Errorf("a token was tried %d times", n)
		}
		w.requests.take()
		w.connect()
		w.reconcileBinding(binding)
		w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
		if seen := w.requests.take(); len(seen) > 0 {
			t.Errorf("a restart asked %v", seen)
		}
	}
	binding.Spec.Verify = ""
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	w.absent(binding, v1alpha1.ConditionVerified)
	if seen := w.requests.take(); len(seen) > 0 {
		t.Errorf("turning it off asked %v", seen)
	}
}

// A Confluence that does not answer is not asked for each binding: every probe would hold a worker until it is given up.
func TestProbesOfASilentConfluence(t *testing.T) {
	w := newWorld(t)
	install, first := w.install(), w.probing()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	undo := w.inject("atlassian GET /ex/confluence/", slow)
	for i, want := range []int{1, 0, 0} {
		b := w.probing()
		b.Name, b.Spec.Secret.Name = fmt.Sprint("reports-", i), fmt.Sprintf("reports-%d-token", i)
		must(t, w.k8s.Create(w.ctx, b))
		w.requests.take()
		w.reconcileBinding(b)
		w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.expect(b, v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonProbeInconclusive)
		if n := w.requests.count(probeCall); n != want {
			t.Errorf("binding %d: tried %d times, want %d", i, n, want)
		}
	}
	undo()
	w.clock.Step(time.Minute)
	must(t, w.k8s.Create(w.ctx, first))
	w.reconcileBinding(first)
	w.expect(first, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
}

// What Confluence says to a new token, and what that means. The token is there whatever it says.
func TestProbeVerdicts(t *testing.T) {
	unknown, no := metav1.ConditionUnknown, metav1.ConditionFalse
	unauthorized := replyJSON(401, `{"code":401,"message":"Unauthorized"}`)
	tests := map[string]struct {
		answer faults.Fault
		// sites, when set, is what the token is good for by now.
		sites  string
		status metav1.ConditionStatus
		reason string
	}{
		"the grant has ended":          {unauthorized, "", no, v1alpha1.ReasonTokenRefused},
		"a scope is missing":           {replyJSON(401, `{"code":401,"message":"Unauthorized; scope does not match"}`), "", no, v1alpha1.ReasonScopeMismatch},
		"the site blocks the app":      {replyJSON(403, `{"statusCode":403,"message":"blocked"}`), "", no, v1alpha1.ReasonAccessForbidden},
		"the site is gone":             {replyJSON(404, `{"statusCode":404}`), `[]`, no, v1alpha1.ReasonSiteNotFound},
		"the call is gone":             {replyJSON(404, `{"statusCode":404}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"nobody knows of the site":     {replyJSON(404, `{"statusCode":404}`), "nonsense", unknown, v1alpha1.ReasonProbeInconclusive},
		"the call is gone for good":    {replyJSON(410, `{}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence is down":           {replyJSON(503, `{}`), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence throttles":         {throttled, "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence answers HTML":      {reply(200, "text/html", "<html>"), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence answers 8 MB":      {huge(), "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence breaks off":        {hangUp, "", unknown, v1alpha1.ReasonProbeInconclusive},
		"Confluence is slow to answer": {slow, "", unknown, v1alpha1.ReasonProbeInconclusive},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			install, binding := w.install(), w.probing()
			must(t, w.k8s.Create(w.ctx, install))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(install)
			w.reconcileBinding(binding)

			w.clock.SetTime(binding.Status.RefreshAt.Time)
			undo := w.inject("atlassian GET /ex/confluence/", tc.answer)
			undoSites := func() {}
			if tc.sites != "" {
				undoSites = w.inject("atlassian GET /oauth/token/accessible-resources", replyJSON(200, tc.sites))
			}
			before := string(w.output(binding).Data["token"])
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionVerified, tc.status, tc.reason)
			if string(w.output(binding).Data["token"]) == before {
				t.Error("the token was withheld")
			}
			undo()
			undoSites()
			w.noCanaries()
			if tc.status != no {
				w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
				return
			}
			w.expect(binding, v1alpha1.ConditionReady, no, tc.reason)
			w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
			w.healsInTenMinutes(binding)
		})
	}
}

// healsInTenMinutes expects a refused token to be replaced after ten minutes, and not before.
func (w *world) healsInTenMinutes(binding *v1alpha1.ConfluenceTokenBinding) {
	w.t.Helper()
	again := binding.Status.RefreshAt.Time
	if wait := again.Sub(w.clock.Now()); wait < slowRetry || wait > slowest {
		w.t.Errorf("tries again after %s", wait)
	}
	w.requests.take()
	w.clock.SetTime(again.Add(-time.Second))
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 0 {
		w.t.Errorf("%d exchanges before the time", n)
	}
	w.clock.SetTime(again)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.absent(binding, v1alpha1.ConditionStalled)
}

// Scopes that open no read are no reason to call a token bad.
func TestNoProbeForTheScopes(t *testing.T) {
	w := newWorld(t)
	install, binding := w.install(), w.probing()
	binding.Spec.Scopes = []v1alpha1.Scope{"write:confluence-content"}
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	undo := w.inject(exchanges, replyJSON(200, `{"access_token":"x","scope":"write:confluence-content","expires_in":3600}`))
	defer undo()
	defer w.inject("atlassian GET /oauth/token/accessible-resources",
		replyJSON(200, `[{"id":"1","url":"https://acme.atlassian.net","scopes":["write:confluence-content"]}]`))()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonProbeUnavailable)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A site that blocks the app is found out by the real answer of the stand-in.
func TestProbeMeetsTheAppAccessPolicy(t *testing.T) {
	w := newWorld(t, func(c *devzone.Config) {
		c.Seed = seed.Default()
		c.Seed.Atlassian.Sites[0].BlockedApps = []string{"atlassian-app"}
	})
	install, binding := w.install(), w.probing()
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAccessForbidden)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// hands makes the zone hand out a token that Atlassian takes.
func (w *world) hands(token string, seconds int) {
	w.t.Helper()
	w.inject(exchanges, replyJSON(200, fmt.Sprintf(`{"access_token":%q,"scope":"read:confluence-content.all","expires_in":%d}`, token, seconds)))
	w.inject("atlassian GET /oauth/token/accessible-resources", replyJSON(200, `[{"id":"1","url":"`+site+`","scopes":["read:confluence-content.all"]}]`))
	w.inject("atlassian GET /ex/confluence/", replyJSON(200, `{"results":[]}`))
}

// A token that Confluence refuses is replaced by any other, though it lives shorter: at its time, and at once when somebody asks.
func TestRefusedTokenIsReplacedByAShorterOne(t *testing.T) {
	for name, asked := range map[string]bool{"after ten minutes": false, "when asked": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			install, binding := w.install(), w.probing()
			must(t, w.k8s.Create(w.ctx, install))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(install)
			undo := w.inject("atlassian GET /ex/confluence/", replyJSON(401, `{"code":401,"message":"Unauthorized"}`))
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionFalse, v1alpha1.ReasonTokenRefused)
			undo()
			w.hands("shorter", 600)
			if asked {
				w.clock.Step(time.Minute)
				w.ask(binding, "she consented again")
			} else {
				w.clock.SetTime(binding.Status.RefreshAt.Time)
			}
			w.reconcileBinding(binding)
			if got := string(w.output(binding).Data["token"]); got != "shorter" {
				t.Error("the refused token is still there")
			}
			w.expect(binding, v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}
