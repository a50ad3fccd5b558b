// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// down is an API server that nothing listens for.
func down(*http.Request) (*http.Response, error) {
	return nil, errors.New("connect: connection refused")
}

// clusterFault is one way in which the cluster does not take a Secret.
type clusterFault struct {
	// breakIt brings it about, and gives what undoes it.
	breakIt func(w *world.World) (undo func())
	reason  string
	says    []string
	// creates is true when only the making of a Secret fails.
	creates bool
}

// secretFaults are brought about in the real cluster where that can be.
var secretFaults = map[string]clusterFault{
	"a quota is used up": {
		breakIt: useUpQuota, creates: true, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"ResourceQuota few-secrets is used up", "the token is kept"},
	},
	"an admission policy is against it": {
		breakIt: denySecrets, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"ValidatingAdmissionPolicy ", "-no-secrets denies it", "the token is kept"},
	},
	"the operator lacks the permission": {
		breakIt: (*world.World).WithoutPermission, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"Forbidden", "config/rbac", "the token is kept"},
	},
	"another writes at the same time": {
		breakIt: writesFail(world.ClusterAnswer(http.StatusConflict, statusBody("Conflict", 409, "the object has been modified: canary-message"))),
		reason:  v1alpha1.ReasonSecretConflict, says: []string{"being changed by another program"},
	},
	"the API server is down": {
		breakIt: writesFail(down), reason: v1alpha1.ReasonSecretWriteFailed, says: []string{"does not answer", "retries"},
	},
	"the API server fails": {
		breakIt: writesFail(world.ClusterAnswer(http.StatusInternalServerError, statusBody("InternalError", 500, "etcd: canary-message"))),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"InternalError", "retries"},
	},
	"the API server asks for a pause": {
		breakIt: writesFail(world.ClusterAnswer(http.StatusTooManyRequests, "Too many requests, please try again later.", "Retry-After", "30")),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"TooManyRequests", "retries"},
	},
	"a webhook quotes what it refuses": {
		breakIt: writesFail(world.ClusterAnswer(http.StatusForbidden, statusBody("Forbidden", 403, `admission webhook "no.secrets.example" denied the request: data canary-message`))),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"the admission webhook no.secrets.example denies it"},
	},
}

func statusBody(reason string, code int, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// writesFail has the API server's answers to writes of output Secrets be others.
func writesFail(answer func(*http.Request) (*http.Response, error)) func(*world.World) func() {
	return func(w *world.World) func() {
		return w.Writes.StandIn("PATCH /api/v1/namespaces/"+w.NS+"/secrets/reports-token", answer)
	}
}

// useUpQuota leaves room for no other Secret.
func useUpQuota(w *world.World) func() {
	w.T.Helper()
	const counted = corev1.ResourceSecrets
	hard := corev1.ResourceList{counted: resource.MustParse("3")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "few-secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, quota))
	// The controller that counts does not run here.
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard.DeepCopy()}
	must.Succeed(w.T, w.K8s.Status().Update(w.Ctx, quota))
	w.Eventually("the quota is enforced", func(ctx context.Context) (bool, error) { return dryRun(ctx, w) != nil, nil })
	return func() {
		must.Succeed(w.T, w.K8s.Delete(w.Ctx, quota))
		w.Eventually("the quota is gone", func(ctx context.Context) (bool, error) { return dryRun(ctx, w) == nil, nil })
	}
}

// dryRun tells whether a Secret like the operator's could be made.
func dryRun(ctx context.Context, w *world.World) error {
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.NS, GenerateName: "probe-", Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
	}}
	return w.K8s.Create(ctx, probe, client.DryRunAll)
}

// denySecrets has the cluster refuse what the operator writes, in words that quote it.
func denySecrets(w *world.World) func() {
	w.T.Helper()
	name := w.NS + "-no-secrets"
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionregistrationv1.Fail),
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        `!has(object.metadata.labels) || !("` + v1alpha1.ManagedByLabel + `" in object.metadata.labels)`,
				MessageExpression: `has(object.data) && "token" in object.data ? "no: " + string(object.data.token) : "no"`,
			}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: w.NS},
			}},
		},
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, policy))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, binding))
	w.T.Cleanup(func() { _ = w.K8s.Delete(context.WithoutCancel(w.Ctx), policy) })
	w.Eventually("the policy is enforced", func(ctx context.Context) (bool, error) { return dryRun(ctx, w) != nil, nil })
	return func() {
		must.Succeed(w.T, w.K8s.Delete(w.Ctx, binding))
		w.Eventually("the policy is off", func(ctx context.Context) (bool, error) { return dryRun(ctx, w) == nil, nil })
	}
}

// A cluster that does not take the first Secret: the condition says who refuses and what to do, the one token that was exchanged
// waits in memory, is offered again within the bounds of the backoff, and is written once the cluster takes it.
func TestSecretWriteFaults(t *testing.T) {
	for name, tc := range secretFaults {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			undo := tc.breakIt(w)
			w.Requests.Take()
			writes, waits := fail(w, binding, 5)
			undo()
			checkWrites(w, tc, binding, writes, waits)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, tc.reason)
			w.Expect(binding, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
			w.Absent(binding, v1alpha1.ConditionStalled)
			w.Clock.Step(waits[len(waits)-1])
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

// The same when a token is to be replaced: the present one stays, and is good until it expires.
func TestSecretRewriteFaults(t *testing.T) {
	for name, tc := range secretFaults {
		if tc.creates {
			continue // a Secret that is there needs no more room
		}
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			_, binding := w.Ready()
			before := string(w.Output(binding).Data["token"])
			undo := tc.breakIt(w)
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			w.Requests.Take()
			writes, waits := fail(w, binding, 5)
			checkWrites(w, tc, binding, writes, waits)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			if now := string(w.Output(binding).Data["token"]); now != before {
				t.Error("the token in the Secret changed")
			}
			w.Pages(w.Output(binding))
			undo()
			w.Clock.Step(waits[len(waits)-1])
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if now := string(w.Output(binding).Data["token"]); now == before {
				t.Error("the token in the Secret is still the old one")
			}
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.NoCanaries("canary-message")
		})
	}
}

// fail reconciles whenever the operator wants to, as often as attempts says, and in between as an unrelated event would. It
// gives how often the Secret was offered, and the waits.
func fail(w *world.World, b *v1alpha1.ConfluenceTokenBinding, attempts int) (writes int, waits []time.Duration) {
	w.T.Helper()
	w.Writes.Take()
	for i := range attempts {
		if i > 0 {
			w.Clock.Step(waits[i-1])
		}
		waits = append(waits, w.ReconcileBinding(b).RequeueAfter)
		before := w.Writes.Count("PATCH /api/v1/namespaces/" + w.NS + "/secrets/")
		w.ReconcileBinding(b)
		if after := w.Writes.Count("PATCH /api/v1/namespaces/" + w.NS + "/secrets/"); after != before {
			w.T.Error("an unrelated event cut the backoff short")
		}
	}
	return w.Writes.Count("PATCH /api/v1/namespaces/" + w.NS + "/secrets/"), waits
}

// checkWrites checks what a write that fails looks like, and how often it is tried.
func checkWrites(w *world.World, tc clusterFault, b *v1alpha1.ConfluenceTokenBinding, writes int, waits []time.Duration) {
	w.T.Helper()
	message := w.Expect(b, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, tc.reason)
	for _, part := range tc.says {
		if !strings.Contains(message, part) {
			w.T.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if writes > len(waits) {
		w.T.Errorf("%d writes in %d attempts", writes, len(waits))
	}
	for i, wait := range waits {
		soonest := refresh.RetryAfter(i+1, 0, "") / 2
		if strings.Contains(message, "TooManyRequests") {
			soonest = 30 * time.Second
		}
		if wait < soonest || wait > 2*time.Minute {
			w.T.Errorf("attempt %d is followed by a wait of %s, want at least %s", i+1, wait, soonest)
		}
	}
}
