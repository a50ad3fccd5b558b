// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"net/http"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// tokenRequests is where tokens of the workload's ServiceAccount are requested.
const tokenRequests = "/serviceaccounts/wiki/token"

// tokenRequestFault is one way in which a ServiceAccount's token is not to be had.
type tokenRequestFault struct {
	// answer is the API server's; breakIt changes the cluster instead.
	answer  func(*http.Request) (*http.Response, error)
	breakIt func(*world.World) (undo func())

	reason          string
	says            []string
	stalled         bool
	soonest, latest time.Duration
}

var tokenRequestFaults = map[string]tokenRequestFault{
	"the ServiceAccount is missing": {
		breakIt: func(w *world.World) func() {
			must.Succeed(w.T, w.K8s.Delete(w.Ctx, w.Wiki()))
			return func() { must.Succeed(w.T, w.K8s.Create(w.Ctx, w.Wiki())) }
		},
		reason: v1alpha1.ReasonServiceAccountNotFound, says: []string{"/wiki does not exist", "Create it"},
	},
	"the operator lacks the permission": {
		breakIt: func(w *world.World) func() {
			return w.MayOnly(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}})
		},
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"create on serviceaccounts/token", "config/rbac"},
		stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
	},
	"a webhook is against it": {
		answer: world.ClusterAnswer(http.StatusForbidden, statusBody("Forbidden", 403, `admission webhook "no.tokens.example" denied the request: canary-message`)),
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"the admission webhook no.tokens.example denies it"},
		stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
	},
	"the request is invalid": {
		answer: world.ClusterAnswer(http.StatusUnprocessableEntity, statusBody("Invalid", 422, "TokenRequest is invalid: canary-message")),
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"Invalid", "admission policies"},
		stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
	},
	"the API server asks for a pause": {
		answer: world.ClusterAnswer(http.StatusTooManyRequests, "canary-message", "Retry-After", "45"),
		reason: v1alpha1.ReasonClusterError, says: []string{"TooManyRequests", "retries"}, soonest: 45 * time.Second, latest: 45 * time.Second,
	},
	"the API server fails": {
		answer: world.ClusterAnswer(http.StatusInternalServerError, statusBody("InternalError", 500, "etcd is slow")),
		reason: v1alpha1.ReasonClusterError, says: []string{"InternalError", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
	"the API server is overloaded": {
		answer: world.ClusterAnswer(http.StatusServiceUnavailable, "canary-message", "Retry-After", "20"),
		reason: v1alpha1.ReasonClusterError, says: []string{"ServiceUnavailable", "retries"}, soonest: 20 * time.Second, latest: 20 * time.Second,
	},
	"the API server is down": {
		answer: down, reason: v1alpha1.ReasonClusterError, says: []string{"does not answer", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
	"the API server hangs": {
		answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		reason: v1alpha1.ReasonClusterError, says: []string{"does not answer", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
	"the answer is malformed": {
		answer: world.ClusterAnswer(http.StatusCreated, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"canary-message`),
		reason: v1alpha1.ReasonClusterError, says: []string{"retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
	"the answer is another object": {
		answer: world.ClusterAnswer(http.StatusCreated, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"canary-message"}}`),
		reason: v1alpha1.ReasonClusterError, says: []string{"retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
	"the answer has no token": {
		answer: world.ClusterAnswer(http.StatusCreated, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"","expirationTimestamp":"2026-01-01T00:00:00Z"}}`),
		reason: v1alpha1.ReasonClusterError, says: []string{"without a token", "retries"}, soonest: world.FirstRetry, latest: world.LastRetry,
	},
}

// bring brings the fault about.
func (tc tokenRequestFault) bring(w *world.World) (undo func()) {
	if tc.breakIt != nil {
		return tc.breakIt(w)
	}
	return w.Writes.StandIn(tokenRequests, tc.answer)
}

// A ServiceAccount whose token is not to be had, before there is any: the zone is not asked, the condition says why and what to
// do, nothing is hot, and it is over when the cause is.
func TestTokenRequestFaults(t *testing.T) {
	for name, tc := range tokenRequestFaults {
		t.Run(name, func(t *testing.T) {
			w, binding := world.Workload(t)
			must.Succeed(t, w.K8s.Create(w.Ctx, w.Wiki()))
			undo := tc.bring(w)
			w.Requests.Take()
			w.Writes.Take()
			result := w.ReconcileBinding(binding)
			check(w, fault{
				condition: v1alpha1.ConditionTokenIssued, status: metav1.ConditionFalse, reason: tc.reason, says: tc.says,
				stalled: tc.stalled, soonest: tc.soonest, latest: tc.latest,
			}, binding, result.RequeueAfter)
			w.ReconcileBinding(binding)
			if n := w.Writes.Count(tokenRequests); n > 1 && tc.latest > 0 {
				t.Errorf("%d requests for a token, want one until the pause is over", n)
			}
			if n := w.Requests.Count(world.Exchanges); n > 0 {
				t.Errorf("the zone was asked %d times", n)
			}
			undo()
			w.Clock.Step(tc.latest)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.NoCanaries("canary-message")
		})
	}
}

// The same when the token is due for refresh: the present one stays good, and Ready says so.
func TestTokenRequestFaultsOfARefresh(t *testing.T) {
	for _, name := range []string{"the ServiceAccount is missing", "a webhook is against it", "the API server asks for a pause", "the answer has no token"} {
		tc := tokenRequestFaults[name]
		t.Run(name, func(t *testing.T) {
			w, binding := world.Workload(t)
			must.Succeed(t, w.K8s.Create(w.Ctx, w.Wiki()))
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			undo := tc.bring(w)
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			w.Requests.Take()
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			if !strings.Contains(message, tc.reason) {
				t.Errorf("the message does not name %s: %s", tc.reason, message)
			}
			w.Absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			w.Pages(w.Output(binding))
			undo()
			w.Clock.Step(tc.latest)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.NoCanaries("canary-message")
		})
	}
}

// A person who has mended the cause need not wait: her request is honoured at once.
func TestTokenRequestRefusedAndAskedAgain(t *testing.T) {
	w, binding := world.Workload(t)
	must.Succeed(t, w.K8s.Create(w.Ctx, w.Wiki()))
	undo := tokenRequestFaults["the operator lacks the permission"].bring(w)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonTokenRequestRefused)
	undo()
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
