// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
)

// tokenRequests is where tokens of the workload's ServiceAccount are requested.
const tokenRequests = "/serviceaccounts/wiki/token"

// workload makes an install that registers workloads, a ServiceAccount, and a binding that calls as it; neither has a token yet.
// The zone goes by the real time, as the cluster does that issues the ServiceAccount's tokens.
func workload(t *testing.T, change ...func(*devzone.Config)) (*world, *v1alpha1.ConfluenceTokenBinding) {
	t.Helper()
	w := newWorld(t, append([]func(*devzone.Config){realTime}, change...)...)
	resource, binding := w.install(), w.binding("reports")
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{Issuer: realIssuer(t), JWKSURI: clusterKeys(t)}
	resource.Spec.Policies = []v1alpha1.AccessPolicy{w.mayActForAlice("wiki")}
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return w, binding
}

// realIssuer is the issuer of the cluster's ServiceAccount tokens.
func realIssuer(t *testing.T) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(cluster.Config)
	must(t, err)
	raw, err := k.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	must(t, err)
	var document struct {
		Issuer string `json:"issuer"`
	}
	must(t, json.Unmarshal(raw, &document))
	return document.Issuer
}

// wiki is the workload's ServiceAccount.
func (w *world) wiki() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "wiki"}}
}

// tokenRequestFault is one way in which a ServiceAccount's token is not to be had.
type tokenRequestFault struct {
	// answer is the API server's; breakIt changes the cluster instead.
	answer  func(*http.Request) (*http.Response, error)
	breakIt func(*world) (undo func())

	reason          string
	says            []string
	stalled         bool
	soonest, latest time.Duration
}

var tokenRequestFaults = map[string]tokenRequestFault{
	"the ServiceAccount is missing": {
		breakIt: func(w *world) func() {
			must(w.t, w.k8s.Delete(w.ctx, w.wiki()))
			return func() { must(w.t, w.k8s.Create(w.ctx, w.wiki())) }
		},
		reason: v1alpha1.ReasonServiceAccountNotFound, says: []string{"/wiki does not exist", "create it"},
	},
	"the operator lacks the permission": {
		breakIt: func(w *world) func() {
			return w.mayOnly(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}})
		},
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"create on serviceaccounts/token", "config/rbac"},
		stalled: true, soonest: slowRetry, latest: slowest,
	},
	"a webhook is against it": {
		answer: clusterAnswer(http.StatusForbidden, statusBody("Forbidden", 403, `admission webhook "no.tokens.example" denied the request: canary-message`)),
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"the admission webhook no.tokens.example denies it"},
		stalled: true, soonest: slowRetry, latest: slowest,
	},
	"the request is invalid": {
		answer: clusterAnswer(http.StatusUnprocessableEntity, statusBody("Invalid", 422, "TokenRequest is invalid: canary-message")),
		reason: v1alpha1.ReasonTokenRequestRefused, says: []string{"Invalid", "admission policies"},
		stalled: true, soonest: slowRetry, latest: slowest,
	},
	"the API server asks for a pause": {
		answer: clusterAnswer(http.StatusTooManyRequests, "canary-message", "Retry-After", "45"),
		reason: v1alpha1.ReasonClusterError, says: []string{"TooManyRequests", "retried"}, soonest: 45 * time.Second, latest: 45 * time.Second,
	},
	"the API server fails": {
		answer: clusterAnswer(http.StatusInternalServerError, statusBody("InternalError", 500, "etcd is slow")),
		reason: v1alpha1.ReasonClusterError, says: []string{"InternalError", "retried"}, soonest: firstRetry, latest: lastRetry,
	},
	"the API server is overloaded": {
		answer: clusterAnswer(http.StatusServiceUnavailable, "canary-message", "Retry-After", "20"),
		reason: v1alpha1.ReasonClusterError, says: []string{"ServiceUnavailable", "retried"}, soonest: 20 * time.Second, latest: 20 * time.Second,
	},
	"the API server is down": {
		answer: down, reason: v1alpha1.ReasonClusterError, says: []string{"does not answer", "retried"}, soonest: firstRetry, latest: lastRetry,
	},
	"the API server hangs": {
		answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		reason: v1alpha1.ReasonClusterError, says: []string{"does not answer", "retried"}, soonest: firstRetry, latest: lastRetry,
	},
	"the answer is malformed": {
		answer: clusterAnswer(http.StatusCreated, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"canary-message`),
		reason: v1alpha1.ReasonClusterError, says: []string{"retried"}, soonest: firstRetry, latest: lastRetry,
	},
	"the answer is another object": {
		answer: clusterAnswer(http.StatusCreated, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"canary-message"}}`),
		reason: v1alpha1.ReasonClusterError, says: []string{"retried"}, soonest: firstRetry, latest: lastRetry,
	},
	"the answer has no token": {
		answer: clusterAnswer(http.StatusCreated, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"","expirationTimestamp":"2026-01-01T00:00:00Z"}}`),
		reason: v1alpha1.ReasonClusterError, says: []string{"without a token", "retried"}, soonest: firstRetry, latest: lastRetry,
	},
}

// bring brings the fault about.
func (tc tokenRequestFault) bring(w *world) (undo func()) {
	if tc.breakIt != nil {
		return tc.breakIt(w)
	}
	return w.writes.standIn(tokenRequests, tc.answer)
}

// A ServiceAccount whose token is not to be had, before there is any: the zone is not asked, the condition says why and what to
// do, nothing is hot, and it is over when the cause is.
func TestTokenRequestFaults(t *testing.T) {
	for name, tc := range tokenRequestFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one takes the whole timeout of a request
			w, binding := workload(t)
			must(t, w.k8s.Create(w.ctx, w.wiki()))
			undo := tc.bring(w)
			w.requests.take()
			w.writes.take()
			result := w.reconcileBinding(binding)
			w.check(fault{
				condition: v1alpha1.ConditionTokenIssued, status: metav1.ConditionFalse, reason: tc.reason, says: tc.says,
				stalled: tc.stalled, soonest: tc.soonest, latest: tc.latest,
			}, binding, result.RequeueAfter)
			w.reconcileBinding(binding)
			if n := w.writes.count(tokenRequests); n > 1 && tc.latest > 0 {
				t.Errorf("%d requests for a token, want one until the pause is over", n)
			}
			if n := w.requests.count(exchanges); n > 0 {
				t.Errorf("the zone was asked %d times", n)
			}
			undo()
			w.clock.Step(tc.latest)
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.noCanaries("canary-message")
		})
	}
}

// The same when the token is due for refresh: the present one stays good, and Ready says so.
func TestTokenRequestFaultsOfARefresh(t *testing.T) {
	for _, name := range []string{"the ServiceAccount is missing", "a webhook is against it", "the API server asks for a pause", "the answer has no token"} {
		tc := tokenRequestFaults[name]
		t.Run(name, func(t *testing.T) {
			w, binding := workload(t)
			must(t, w.k8s.Create(w.ctx, w.wiki()))
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			undo := tc.bring(w)
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			w.requests.take()
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			message := w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			if !strings.Contains(message, tc.reason) {
				t.Errorf("the message does not name %s: %s", tc.reason, message)
			}
			w.absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			w.pages(w.output(binding))
			undo()
			w.clock.Step(tc.latest)
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.noCanaries("canary-message")
		})
	}
}

// A person who has mended the cause need not wait: her request is honoured at once.
func TestTokenRequestRefusedAndAskedAgain(t *testing.T) {
	w, binding := workload(t)
	must(t, w.k8s.Create(w.ctx, w.wiki()))
	undo := tokenRequestFaults["the operator lacks the permission"].bring(w)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonTokenRequestRefused)
	undo()
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
