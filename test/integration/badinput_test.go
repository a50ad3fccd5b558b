// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
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
)

// fault is one thing that goes wrong, and what is to be seen of it.
type fault struct {
	// on is the request that is answered with answer; breakIt changes the world instead.
	on      string
	answer  faults.Fault
	breakIt func(*world)

	condition, reason string
	status            metav1.ConditionStatus
	// says are parts of the message.
	says []string
	// stalled is true when a person has to act.
	stalled bool
	// soonest and latest bound the next attempt; zero when a watch reports the end.
	soonest, latest time.Duration
}

// The bounds of the first retry after a passing failure, and of one that needs a person outside.
const (
	firstRetry = time.Second
	lastRetry  = 2 * time.Second
	slowRetry  = 10 * time.Minute
	slowest    = 11 * time.Minute
)

// What a zone or Atlassian answers instead of what it should.
var (
	hangUp    = faults.Fault{Break: faults.Reset}
	slow      = faults.Fault{Break: faults.Hang}
	throttled = faults.Fault{Status: http.StatusTooManyRequests, RetryAfter: 90, Body: `{"error":"slow_down"}`}
)

func reply(status int, contentType, body string) faults.Fault {
	return faults.Fault{Status: status, ContentType: contentType, Body: body}
}

func replyJSON(status int, body string) faults.Fault { return reply(status, "application/json", body) }

// huge answers 8 MB.
func huge() faults.Fault { return replyJSON(http.StatusOK, strings.Repeat("x", 8<<20)) }

// inject has the zone's server answer requests wrongly until undo is called. on is a surface, and may go on with
// a method and the beginning of a path, or it is an operation.
func (w *world) inject(on string, f faults.Fault) (undo func()) {
	w.t.Helper()
	parts := strings.Fields(on)
	switch len(parts) {
	case 3:
		f.Surface, f.Method, f.Path = parts[0], parts[1], strings.TrimSuffix(parts[2], "/")
		if f.Path != parts[2] {
			f.Path += "/**"
		}
	default:
		f.Surface = parts[0]
		if _, known := faults.Operations[on]; known {
			f.Surface, f.Operation = "", on
		}
	}
	added, err := w.zone.Faults.Add(f)
	must(w.t, err)
	return func() { w.zone.Faults.Remove(added.ID) }
}

func deleteSecret(name string) func(*world) {
	return func(w *world) {
		must(w.t, w.k8s.Delete(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}))
	}
}

func setKey(name, key string, value []byte) func(*world) {
	return func(w *world) {
		var s corev1.Secret
		must(w.t, w.k8s.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, &s))
		delete(s.Data, key)
		if value != nil {
			s.Data[key] = value
		}
		must(w.t, w.k8s.Update(w.ctx, &s))
	}
}

// heal undoes breakIt for the Secrets.
func (w *world) heal() {
	w.t.Helper()
	for name, want := range map[string][2]string{
		"service-account": {"operator", operatorSecret}, "oauth-app": {"atlassian-app", atlassianSecret}, "reports-app": {"reports", reportsSecret},
	} {
		var s corev1.Secret
		if err := w.k8s.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, &s); err != nil {
			w.secret(name, want[0], want[1])
			continue
		}
		s.Data = map[string][]byte{v1alpha1.ClientIDKey: []byte(want[0]), v1alpha1.ClientSecretKey: []byte(want[1])}
		must(w.t, w.k8s.Update(w.ctx, &s))
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
			on: zoneGet, answer: replyJSON(500, `{"message":"oops"}`), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"oops", "retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"the API is down": {
			on: "api ", answer: hangUp, condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"connection reset", "retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"the API is slow": {
			on: zoneGet, answer: slow, condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"timed out", "retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"the API answers HTML": {
			on: "api ", answer: reply(200, "text/html", "<html>Sign in</html>"), condition: valid, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"text/html", "URL"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the API answers 8 MB": {
			on: zoneGet, answer: huge(), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"1 MiB"}, soonest: firstRetry, latest: lastRetry,
		},
		"the API answers half a document": {
			on: zoneGet, answer: replyJSON(200, `{"id":`), condition: valid, status: unknown,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"malformed JSON"}, soonest: firstRetry, latest: lastRetry,
		},
		"the API throttles": {
			on: zoneGet, answer: throttled, condition: valid, status: unknown,
			reason: v1alpha1.ReasonThrottled, says: []string{"pause"}, soonest: 90 * time.Second, latest: 90 * time.Second,
		},
		"the service account's secret is wrong": {
			breakIt: setKey("service-account", "client_secret", []byte("wrong")), condition: valid, status: no,
			reason: v1alpha1.ReasonClientRejected, says: []string{"client secret"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the service account's Secret is missing": {
			breakIt: deleteSecret("service-account"), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"service-account", "client_id and client_secret"},
		},
		"a key is missing": {
			breakIt: setKey("oauth-app", "client_id", nil), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_id", "oauth-app", "missing"}, stalled: true,
		},
		"a key is empty": {
			breakIt: setKey("oauth-app", "client_secret", []byte{}), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "empty"}, stalled: true,
		},
		"a key ends with a newline": {
			breakIt: setKey("oauth-app", "client_secret", []byte("canary-newline\n")), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "newline"}, stalled: true,
		},
		"a key is not text": {
			breakIt: setKey("oauth-app", "client_id", []byte{0xff, 0xfe}), condition: valid, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_id", "not text"}, stalled: true,
		},
		"a create is refused": {
			on: "api POST /zones/", answer: replyJSON(403, `{"message":"no permission","code":"forbidden","status":403}`), condition: provider, status: no,
			reason: v1alpha1.ReasonAccessDenied, says: []string{"no permission"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"somebody else was faster": {
			on: "api POST /zones/", answer: replyJSON(409, `{"message":"identifier is in use","code":"conflict","status":409}`), condition: provider, status: unknown,
			reason: v1alpha1.ReasonProgressingWithRetry, says: []string{"looked at again"}, soonest: firstRetry, latest: lastRetry,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			resource := w.install()
			must(t, w.k8s.Create(w.ctx, resource))
			undo := func() {}
			if tc.breakIt != nil {
				tc.breakIt(w)
			} else {
				undo = w.inject(tc.on, tc.answer)
			}
			result := w.reconcileResource(resource)
			w.check(tc, resource, result.RequeueAfter)
			status := resource.Status.DeepCopy()
			w.writes.take()
			w.reconcileResource(resource)
			if r := w.writes.take(); len(r) > 0 {
				t.Errorf("the same problem was written again: %v\n%s\n%s", r, describe(status.Conditions), describe(resource.Status.Conditions))
			}
			undo()
			w.heal()
			w.reconcileResource(resource)
			w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.noCanaries("canary-newline")
		})
	}
}

// check compares an object with what is to be seen of a fault.
func (w *world) check(tc fault, o client.Object, wait time.Duration) {
	w.t.Helper()
	message := w.expect(o, tc.condition, tc.status, tc.reason)
	for _, part := range tc.says {
		if !strings.Contains(message, part) {
			w.t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if wait < tc.soonest || wait > tc.latest {
		w.t.Errorf("tries again after %s, want within [%s, %s]", wait, tc.soonest, tc.latest)
	}
	if tc.stalled {
		w.expect(o, v1alpha1.ConditionStalled, metav1.ConditionTrue, tc.reason)
		w.absent(o, v1alpha1.ConditionReconciling)
	} else {
		w.expect(o, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
		w.absent(o, v1alpha1.ConditionStalled)
	}
	w.expect(o, v1alpha1.ConditionReady, metav1.ConditionFalse, tc.reason)
}

const token200 = `{"access_token":%q,"token_type":"Bearer","expires_in":%s,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`

// What can go wrong with an exchange, on the first token.
func TestExchangeFaults(t *testing.T) {
	const issued = v1alpha1.ConditionTokenIssued
	no := metav1.ConditionFalse
	oauth := func(status int, code, description string) faults.Fault {
		return replyJSON(status, fmt.Sprintf(`{"error":%q,"error_description":%q,"requestId":"req-%d"}`, code, description, time.Now().UnixNano()))
	}
	tests := map[string]fault{
		"the zone answers 500": {
			on: exchanges, answer: replyJSON(500, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"HTTP 500", "retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"the zone is down": {
			on: "zone ", answer: hangUp, condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"connection reset", "retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"the zone is slow": {
			on: exchanges, answer: slow, condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"timed out"}, soonest: firstRetry, latest: lastRetry,
		},
		"the zone answers HTML": {
			on: exchanges, answer: reply(502, "text/html", "<html>Bad gateway</html>"), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"text/html"}, soonest: firstRetry, latest: lastRetry,
		},
		"the zone answers 8 MB": {
			on: exchanges, answer: huge(), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"1 MiB"}, soonest: firstRetry, latest: lastRetry,
		},
		"the zone throttles": {
			on: exchanges, answer: throttled, condition: issued, status: no,
			reason: v1alpha1.ReasonThrottled, says: []string{"pause"}, soonest: 90 * time.Second, latest: 90 * time.Second,
		},
		"the zone's metadata is another's": {
			on: "zone GET /.well-known/", answer: replyJSON(200, `{"issuer":"https://evil.example","token_endpoint":"https://evil.example/token"}`), condition: issued, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"issuer"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the application's secret is wrong": {
			breakIt: setKey("reports-app", "client_secret", []byte("wrong")), condition: issued, status: no,
			reason: v1alpha1.ReasonClientRejected, says: []string{"invalid_client", "client secret"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the application's Secret is missing": {
			breakIt: deleteSecret("reports-app"), condition: issued, status: no,
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"reports-app", "client_id and client_secret"},
		},
		"the application's Secret lacks a key": {
			breakIt: setKey("reports-app", "client_secret", nil), condition: issued, status: no,
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"client_secret", "missing"}, stalled: true,
		},
		"the resource is unknown": {
			on: exchanges, answer: oauth(400, "invalid_target", "Requested authorization for unknown resource"), condition: issued, status: no,
			reason: v1alpha1.ReasonRequestRejected, says: []string{"invalid_target", "unknown resource"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"consent is missing": {
			on: exchanges, answer: oauth(400, "insufficient_authorization", "User consent is required"), condition: issued, status: no,
			reason: v1alpha1.ReasonConsentRequired, says: []string{user + " has to consent to the resource https://api.atlassian.com/ex/confluence once"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"a policy forbids it": {
			on: exchanges, answer: oauth(403, "access_denied", "Access denied by policy. Policy set: default."), condition: issued, status: no,
			reason: v1alpha1.ReasonAccessDenied, says: []string{"Policy set: default", "administrator"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the token has a newline": {
			on: exchanges, answer: replyJSON(200, `{"access_token":"canary-newline\nX-Evil: 1","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"header"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"the token is of another type": {
			on: exchanges, answer: replyJSON(200, `{"access_token":"x","token_type":"mac","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"Bearer"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"there is no token": {
			on: exchanges, answer: replyJSON(200, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonZoneUnreachable, says: []string{"access_token"}, soonest: firstRetry, latest: lastRetry,
		},
		"scopes are missing": {
			on: exchanges, answer: replyJSON(200, `{"access_token":"x","scope":"search:confluence","expires_in":3600}`), condition: issued, status: no,
			reason: v1alpha1.ReasonScopeReduced, says: []string{"read:confluence-content.all"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"there is no site": {
			on: "accessible-resources", answer: replyJSON(200, `[]`), condition: issued, status: no,
			reason: v1alpha1.ReasonNoAccessibleSites, says: []string{"pick at least one site"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"there are several sites": {
			on: "accessible-resources", answer: replyJSON(200, `[{"id":"1","url":"https://b.atlassian.net","scopes":["search:confluence"]},{"id":"2","url":"https://a.atlassian.net","scopes":["search:confluence"]}]`),
			condition: issued, status: no, reason: v1alpha1.ReasonSiteAmbiguous,
			says: []string{"https://a.atlassian.net, https://b.atlassian.net", "spec.site.url"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
		"Atlassian is down": {
			on: "accessible-resources", answer: replyJSON(503, `{}`), condition: issued, status: no,
			reason: v1alpha1.ReasonAtlassianUnreachable, says: []string{"retried"}, soonest: firstRetry, latest: lastRetry,
		},
		"Atlassian refuses the token": {
			on: "accessible-resources", answer: replyJSON(401, `{"code":401,"message":"Unauthorized"}`), condition: issued, status: no,
			reason: v1alpha1.ReasonTokenUnusable, says: []string{"consent again"}, stalled: true, soonest: slowRetry, latest: slowest,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			resource, binding := w.install(), w.binding("reports")
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(resource)
			undo := func() {}
			if tc.breakIt != nil {
				tc.breakIt(w)
			} else {
				undo = w.inject(tc.on, tc.answer)
			}
			result := w.reconcileBinding(binding)
			w.check(tc, binding, result.RequeueAfter)

			// An unrelated event during the pause asks and writes nothing.
			w.requests.take()
			w.writes.take()
			w.reconcileBinding(binding)
			if r := append(w.requests.take(), w.writes.take()...); len(r) > 0 && tc.latest > 0 {
				t.Errorf("an unrelated event led to %v", r)
			}
			undo()
			w.heal()
			w.clock.Step(tc.latest)
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			w.noCanaries("canary-newline")
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
			w := newWorld(t)
			resource, binding := w.install(), w.binding("reports")
			binding.Spec.Site = &v1alpha1.Site{URL: site}
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(resource)
			w.inject("accessible-resources", replyJSON(200, `[{"id":"1","url":"`+site+`","scopes":["search:confluence"]}]`))
			w.inject(exchanges, replyJSON(200, fmt.Sprintf(token200, "a-token", tc.expiresIn)))
			result := w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.reason)
			if got := binding.Status.ExpiresAt.Sub(w.clock.Now()); got != tc.want {
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
	w := newWorld(t)
	_, binding := w.ready()
	expires := binding.Status.ExpiresAt.Time
	undo := w.inject(exchanges, replyJSON(500, `{}`))
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.events.take()
	var seen []string
	attempts := 0
	for w.clock.Now().Before(expires.Add(3 * time.Minute)) {
		w.requests.take()
		result := w.reconcileBinding(binding)
		attempts += w.requests.count(exchanges)
		ready := conditionsOf(binding)[slices.IndexFunc(conditionsOf(binding), func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionReady })]
		state := fmt.Sprintf("%s %s", ready.Status, ready.Reason)
		if len(seen) == 0 || seen[len(seen)-1] != state {
			seen = append(seen, state)
		}
		life := refresh.Life{IssuedAt: binding.Status.IssuedAt.Time, ExpiresAt: expires}
		switch now := w.clock.Now(); {
		case now.Before(refresh.FloorAt(life)):
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			w.absent(binding, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
		case now.Before(expires):
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpiring)
		default:
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		}
		if result.RequeueAfter <= 0 || result.RequeueAfter > 2*time.Minute {
			t.Fatalf("comes back after %s", result.RequeueAfter)
		}
		w.clock.Step(result.RequeueAfter)
	}
	if want := []string{"True Ready", "False TokenExpiring", "False TokenExpired"}; !slices.Equal(seen, want) {
		t.Errorf("Ready went through %v, want %v", seen, want)
	}
	if attempts > 60 {
		t.Errorf("%d attempts in half an hour", attempts)
	}
	if e := w.events.take(); len(e) != 3 {
		t.Errorf("events: %q", e)
	}
	undo()
	w.clock.Step(2 * time.Minute)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// noCanaries looks for secrets wherever they must not be: logs, events, and objects other than Secrets.
func (w *world) noCanaries(more ...string) {
	w.t.Helper()
	canaries := append([]string{operatorSecret, atlassianSecret, reportsSecret}, more...)
	var secrets corev1.SecretList
	must(w.t, w.k8s.List(w.ctx, &secrets, client.InNamespace(w.ns)))
	for _, s := range secrets.Items {
		if token := string(s.Data["token"]); token != "" {
			canaries = append(canaries, token)
		}
	}
	for _, c := range slices.Clone(canaries) {
		canaries = append(canaries, base64.StdEncoding.EncodeToString([]byte(c))) // as in a Secret
	}
	var resources v1alpha1.KeycardResourceList
	var bindings v1alpha1.ConfluenceTokenBindingList
	must(w.t, w.k8s.List(w.ctx, &resources, client.InNamespace(w.ns)))
	must(w.t, w.k8s.List(w.ctx, &bindings, client.InNamespace(w.ns)))
	for _, s := range secrets.Items {
		resourcesText := fmt.Sprint(s.ObjectMeta)
		for _, c := range canaries {
			if strings.Contains(resourcesText, c) {
				w.t.Errorf("the metadata of Secret %s holds a secret", s.Name)
			}
		}
	}
	places := map[string]string{
		"logs": w.logs.String(), "events": fmt.Sprint(w.events.list),
		"KeycardResources": fmt.Sprintf("%+v", resources), "ConfluenceTokenBindings": fmt.Sprintf("%+v", bindings),
	}
	for place, text := range places {
		for i, c := range canaries {
			if strings.Contains(text, c) {
				w.t.Errorf("secret %d is in the %s", i, place)
			}
		}
	}
}
