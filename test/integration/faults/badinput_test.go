// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone/faults"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// fault is one thing that goes wrong, and what is to be seen of it.
type fault struct {
	// on is the request that is answered with answer; breakIt changes the world instead.
	on      string
	answer  faults.Fault
	breakIt func(*world.World)

	condition, reason string
	status            metav1.ConditionStatus
	// says are parts of the message.
	says []string
	// stalled is true when a person has to act.
	stalled bool
	// soonest and latest bound the next attempt; zero when a watch reports the end.
	soonest, latest time.Duration
}

// heal undoes breakIt for the Secrets.
func heal(w *world.World) {
	w.T.Helper()
	for name, want := range map[string][2]string{
		"service-account": {"operator", world.OperatorSecret}, "oauth-app": {"atlassian-app", world.AtlassianSecret}, "reports-app": {"reports", world.ReportsSecret},
	} {
		var s corev1.Secret
		if err := w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: name}, &s); err != nil {
			w.Secret(name, want[0], want[1])
			continue
		}
		s.Data = map[string][]byte{v1alpha1.ClientIDKey: []byte(want[0]), v1alpha1.ClientSecretKey: []byte(want[1])}
		must.Succeed(w.T, w.K8s.Update(w.Ctx, &s))
	}
}

// What can go wrong with an install: each is a condition with a stable reason and a remedy, no hot loop,
// and over when its cause is.
func TestInstallFaults(t *testing.T) {
	const (
		valid    = v1alpha1.ConditionCredentialsValid
		provider = v1alpha1.ConditionProviderRegistered
		zoneGet  = "api GET /zones/"
	)
	no, unknown := metav1.ConditionFalse, metav1.ConditionUnknown
	tests := map[string]fault{
		"the API answers 500": {
			on: zoneGet, answer: world.ReplyJSON(500, `{"message":"oops"}`), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"oops", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the API is down": {
			on: "api ", answer: world.HangUp, condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"connection reset", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the API is slow": {
			on: zoneGet, answer: world.Slow, condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"timed out", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the API answers HTML": {
			on: "api ", answer: world.Reply(200, "text/html", "<html>Sign in</html>"), condition: valid, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"text/html", "URL"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the API answers 8 MB": {
			on: zoneGet, answer: world.Huge(), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"1 MiB"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the API answers half a document": {
			on: zoneGet, answer: world.ReplyJSON(200, `{"id":`), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"malformed JSON"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the API throttles": {
			on: zoneGet, answer: world.Throttled, condition: valid, status: unknown,
			reason: v1alpha1.ReasonThrottled, says: []string{"pause"}, soonest: 90 * time.Second, latest: 90 * time.Second,
		},
		"the service account's secret is wrong": {
			breakIt: world.SetKey("service-account", "client_secret", []byte("wrong")), condition: valid, status: no,
			reason: v1alpha1.ReasonClientRejected, says: []string{"client secret"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the service account's Secret is missing": {
			breakIt: world.DeleteSecret("service-account"), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"service-account", "client_id and client_secret"},
		},
		"a key is missing": {
			breakIt: world.SetKey("oauth-app", "client_id", nil), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_id", "oauth-app", "missing"}, stalled: true,
		},
		"a key is empty": {
			breakIt: world.SetKey("oauth-app", "client_secret", []byte{}), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "empty"}, stalled: true,
		},
		"a key ends with a newline": {
			breakIt: world.SetKey("oauth-app", "client_secret", []byte("canary-newline\n")), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "newline"}, stalled: true,
		},
		"a key is not text": {
			breakIt: world.SetKey("oauth-app", "client_id", []byte{0xff, 0xfe}), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_id", "not text"}, stalled: true,
		},
		"a create is refused": {
			on: "api POST /zones/", answer: world.ReplyJSON(403, `{"message":"no permission","code":"forbidden","status":403}`), condition: provider, status: no,
			reason: v1alpha1.ReasonAccessDenied, says: []string{"no permission"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"somebody else was faster": {
			on: "api POST /zones/", answer: world.ReplyJSON(409, `{"message":"identifier is in use","code":"conflict","status":409}`), condition: provider, status: unknown,
			reason: v1alpha1.ReasonProgressingWithRetry, says: []string{"a moment ago"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource := w.Install()
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			undo := func() {}
			if tc.breakIt != nil {
				tc.breakIt(w)
			} else {
				undo = w.Inject(tc.on, tc.answer)
			}
			result := w.ReconcileResource(resource)
			check(w, tc, resource, result.RequeueAfter)
			status := resource.Status.DeepCopy()
			w.Writes.Take()
			w.ReconcileResource(resource)
			if r := w.Writes.Take(); len(r) > 0 {
				t.Errorf("the same problem was written again: %v\n%s\n%s", r, world.Describe(status.Conditions), world.Describe(resource.Status.Conditions))
			}
			undo()
			heal(w)
			w.ReconcileResource(resource)
			w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.NoCanaries("canary-newline")
		})
	}
}

// check compares an object with what is to be seen of a fault.
func check(w *world.World, tc fault, o client.Object, wait time.Duration) {
	w.T.Helper()
	message := w.Expect(o, tc.condition, tc.status, tc.reason)
	for _, part := range tc.says {
		if !strings.Contains(message, part) {
			w.T.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if wait < tc.soonest || wait > tc.latest {
		w.T.Errorf("tries again after %s, want within [%s, %s]", wait, tc.soonest, tc.latest)
	}
	if tc.stalled {
		w.Expect(o, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
		w.Absent(o, v1alpha1.ConditionReconciling)
	} else {
		w.Expect(o, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
		w.Absent(o, v1alpha1.ConditionStalled)
	}
	w.Expect(o, v1alpha1.ConditionReady, metav1.ConditionFalse, tc.reason)
}

// What can go wrong with an exchange, on the first token.
func TestExchangeFaults(t *testing.T) {
	const issued = v1alpha1.ConditionTokenIssued
	no := metav1.ConditionFalse
	oauth := func(status int, code, description string) faults.Fault {
		return world.ReplyJSON(status, fmt.Sprintf(`{"error":%q,"error_description":%q,"requestId":"req-%d"}`, code, description, time.Now().UnixNano()))
	}
	tests := map[string]fault{
		"the zone answers 500": {
			on: world.Exchanges, answer: world.ReplyJSON(500, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"HTTP 500", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the zone is down": {
			on: "zone ", answer: world.HangUp, condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"connection reset", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the zone is slow": {
			on: world.Exchanges, answer: world.Slow, condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"timed out"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the zone answers HTML": {
			on: world.Exchanges, answer: world.Reply(502, "text/html", "<html>Bad gateway</html>"), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"text/html"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the zone answers 8 MB": {
			on: world.Exchanges, answer: world.Huge(), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"1 MiB"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"the zone throttles": {
			on: world.Exchanges, answer: world.Throttled, condition: issued, status: no,
			reason: v1alpha1.ReasonThrottled, says: []string{"pause"}, soonest: 90 * time.Second, latest: 90 * time.Second,
		},
		"the zone's metadata is another's": {
			on: "zone GET /.well-known/", answer: world.ReplyJSON(200, `{"issuer":"https://evil.example","token_endpoint":"https://evil.example/token"}`), condition: issued, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"issuer"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the application's secret is wrong": {
			breakIt: world.SetKey("reports-app", "client_secret", []byte("wrong")), condition: issued, status: no,
			reason: v1alpha1.ReasonClientRejected, says: []string{"invalid_client", "client secret"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the application's Secret is missing": {
			breakIt: world.DeleteSecret("reports-app"), condition: issued, status: no,
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"reports-app", "client_id and client_secret"},
		},
		"the application's Secret lacks a key": {
			breakIt: world.SetKey("reports-app", "client_secret", nil), condition: issued, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "missing"}, stalled: true,
		},
		"the resource is unknown": {
			on: world.Exchanges, answer: oauth(400, "invalid_target", "Requested authorization for unknown resource"), condition: issued, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"invalid_target", "unknown resource"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"consent is missing": {
			on: world.Exchanges, answer: oauth(400, "insufficient_authorization", "User consent is required"), condition: issued, status: no,
			reason: v1alpha1.ReasonConsentRequired, says: []string{world.User + " has not consented to the resource https://api.atlassian.com/ex/confluence"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"a policy forbids it": {
			on: world.Exchanges, answer: oauth(403, "access_denied", "Access denied by policy. Policy set: default."), condition: issued, status: no,
			reason: v1alpha1.ReasonAccessDenied, says: []string{"Policy set: default", "administrator"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the token has a newline": {
			on: world.Exchanges, answer: world.ReplyJSON(200, `{"access_token":"canary-newline\nX-Evil: 1","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"header"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"the token is of another type": {
			on: world.Exchanges, answer: world.ReplyJSON(200, `{"access_token":"x","token_type":"mac","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"Bearer"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"there is no token": {
			on: world.Exchanges, answer: world.ReplyJSON(200, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"access_token"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"scopes are missing": {
			on: world.Exchanges, answer: world.ReplyJSON(200, `{"access_token":"x","scope":"search:confluence","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonScopeReduced, says: []string{"read:confluence-content.all"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"there is no site": {
			on: "accessible-resources", answer: world.ReplyJSON(200, `[]`), condition: issued, status: no,
			reason: v1alpha1.ReasonNoAccessibleSites, says: []string{"pick a site"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"there are several sites": {
			on: "accessible-resources", answer: world.ReplyJSON(200, `[{"id":"1","url":"https://b.atlassian.net","scopes":["search:confluence"]},{"id":"2","url":"https://a.atlassian.net","scopes":["search:confluence"]}]`),
			condition: issued, status: no, reason: v1alpha1.ReasonSiteAmbiguous,
			says: []string{"https://a.atlassian.net, https://b.atlassian.net", "spec.site.url"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
		"Atlassian is down": {
			on: "accessible-resources", answer: world.ReplyJSON(503, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonAtlassianUnreachable, says: []string{"retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
		},
		"Atlassian refuses the token": {
			on: "accessible-resources", answer: world.ReplyJSON(401, `{"code":401,"message":"Unauthorized"}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"consent again"}, stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			undo := func() {}
			if tc.breakIt != nil {
				tc.breakIt(w)
			} else {
				undo = w.Inject(tc.on, tc.answer)
			}
			result := w.ReconcileBinding(binding)
			check(w, tc, binding, result.RequeueAfter)

			// An unrelated event during the pause asks and writes nothing.
			w.Requests.Take()
			w.Writes.Take()
			w.ReconcileBinding(binding)
			if r := append(w.Requests.Take(), w.Writes.Take()...); len(r) > 0 && tc.latest > 0 {
				t.Errorf("an unrelated event led to %v", r)
			}
			undo()
			heal(w)
			w.Clock.Step(tc.latest)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			w.NoCanaries("canary-newline")
		})
	}
}

// Odd lifetimes are bounded and said.
func TestOddLifetimes(t *testing.T) {
	tests := map[string]struct {
		expiresIn string
		want      time.Duration
		reason    string
	}{
		"0":         {"0", refresh.AssumedLifetime, v1alpha1.ReasonLifetimeUnknown},
		"negative":  {"-5", refresh.AssumedLifetime, v1alpha1.ReasonLifetimeUnknown},
		"a word":    {`"soon"`, refresh.AssumedLifetime, v1alpha1.ReasonLifetimeUnknown},
		"null":      {"null", refresh.AssumedLifetime, v1alpha1.ReasonLifetimeUnknown},
		"a string":  {`"1800"`, 30 * time.Minute, v1alpha1.ReasonIssued},
		"a year":    {"31536000", 24 * time.Hour, v1alpha1.ReasonLifetimeUnknown},
		"a minute":  {"60", time.Minute, v1alpha1.ReasonLifetimeTooShort},
		"one hour":  {"3600", time.Hour, v1alpha1.ReasonIssued},
		"5 seconds": {"5", 5 * time.Second, v1alpha1.ReasonLifetimeTooShort},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			binding.Spec.Site = &v1alpha1.Site{URL: world.Site}
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			w.Inject("accessible-resources", world.ReplyJSON(200, `[{"id":"1","url":"`+world.Site+`","scopes":["search:confluence"]}]`))
			w.Inject(world.Exchanges, world.ReplyJSON(200, fmt.Sprintf(world.Token200, "a-token", tc.expiresIn)))
			result := w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.reason)
			if got := binding.Status.ExpiresAt.Sub(w.Clock.Now()); got != tc.want {
				t.Errorf("expires in %s, want %s", got, tc.want)
			}
			if result.RequeueAfter < min(tc.want, refresh.MinInterval) {
				t.Errorf("comes back after %s", result.RequeueAfter)
			}
		})
	}
}

// A refresh that fails early leaves Ready alone; it falls at the floor, and again at the expiry.
func TestFailingRefresh(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	expires := binding.Status.ExpiresAt.Time
	undo := w.Inject(world.Exchanges, world.ReplyJSON(500, `{}`))
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Events.Take()
	var seen []string
	attempts := 0
	for w.Clock.Now().Before(expires.Add(3 * time.Minute)) {
		w.Requests.Take()
		result := w.ReconcileBinding(binding)
		attempts += w.Requests.Count(world.Exchanges)
		ready := world.ConditionsOf(binding)[slices.IndexFunc(world.ConditionsOf(binding), func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionReady })]
		state := fmt.Sprintf("%s %s", ready.Status, ready.Reason)
		if len(seen) == 0 || seen[len(seen)-1] != state {
			seen = append(seen, state)
		}
		life := refresh.Life{IssuedAt: binding.Status.IssuedAt.Time, ExpiresAt: expires}
		switch now := w.Clock.Now(); {
		case now.Before(refresh.FloorAt(life)):
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			w.Absent(binding, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
		case now.Before(expires):
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
		default:
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		}
		if result.RequeueAfter <= 0 || result.RequeueAfter > 2*time.Minute {
			t.Fatalf("comes back after %s", result.RequeueAfter)
		}
		w.Clock.Step(result.RequeueAfter)
	}
	if want := []string{"True Ready", "False TokenExpiring", "False TokenExpired"}; !slices.Equal(seen, want) {
		t.Errorf("Ready went through %v, want %v", seen, want)
	}
	if attempts > 60 {
		t.Errorf("%d attempts in half an hour", attempts)
	}
	if e := w.Events.Take(); len(e) != 3 {
		t.Errorf("events: %q", e)
	}
	undo()
	w.Clock.Step(2 * time.Minute)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
