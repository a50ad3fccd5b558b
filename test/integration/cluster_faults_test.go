// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// standIn answers requests to the cluster whose "METHOD path" contains what, until the returned function is called.
func (rec *recorder) standIn(what string, answer func(*http.Request) (*http.Response, error)) (undo func()) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.instead = func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.Method+" "+r.URL.Path, what) {
			return nil, nil //nolint:nilnil // it is passed on
		}
		return answer(r)
	}
	return func() {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.instead = nil
	}
}

// clusterAnswer is an answer of the API server.
func clusterAnswer(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
}

// down is an API server that nothing listens for.
func down(*http.Request) (*http.Response, error) {
	return nil, errors.New("connect: connection refused")
}

// clusterFault is one way in which the cluster does not take a Secret.
type clusterFault struct {
	// breakIt brings it about, and gives what undoes it.
	breakIt func(w *world) (undo func())
	reason  string
	says    []string
	// creates is true when only the making of a Secret fails.
	creates bool
}

// secretFaults are brought about in the real cluster where that can be.
var secretFaults = map[string]clusterFault{
	"a quota is used up": {
		breakIt: (*world).useUpQuota, creates: true, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"ResourceQuota few-secrets of the namespace is used up", "the token is kept"},
	},
	"an admission policy is against it": {
		breakIt: (*world).denySecrets, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"ValidatingAdmissionPolicy ", "-no-secrets denies it", "the token is kept"},
	},
	"the operator lacks the permission": {
		breakIt: (*world).withoutPermission, reason: v1alpha1.ReasonSecretWriteFailed,
		says: []string{"Forbidden", "config/rbac", "the token is kept"},
	},
	"another writes at the same time": {
		breakIt: writesFail(clusterAnswer(http.StatusConflict, statusBody("Conflict", 409, "the object has been modified: canary-message"))),
		reason:  v1alpha1.ReasonSecretConflict, says: []string{"being changed by somebody else"},
	},
	"the API server is down": {
		breakIt: writesFail(down), reason: v1alpha1.ReasonSecretWriteFailed, says: []string{"does not answer", "retried"},
	},
	"the API server fails": {
		breakIt: writesFail(clusterAnswer(http.StatusInternalServerError, statusBody("InternalError", 500, "etcd: canary-message"))),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"InternalError", "retried"},
	},
	"the API server asks for a pause": {
		breakIt: writesFail(clusterAnswer(http.StatusTooManyRequests, "Too many requests, please try again later.", "Retry-After", "30")),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"TooManyRequests", "retried"},
	},
	"a webhook quotes what it refuses": {
		breakIt: writesFail(clusterAnswer(http.StatusForbidden, statusBody("Forbidden", 403, `admission webhook "no.secrets.example" denied the request: data canary-message`))),
		reason:  v1alpha1.ReasonSecretWriteFailed, says: []string{"the admission webhook no.secrets.example denies it"},
	},
}

func statusBody(reason string, code int, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// writesFail has the API server's answers to writes of output Secrets be others.
func writesFail(answer func(*http.Request) (*http.Response, error)) func(*world) func() {
	return func(w *world) func() {
		return w.writes.standIn("PATCH /api/v1/namespaces/"+w.ns+"/secrets/reports-token", answer)
	}
}

// useUpQuota leaves room for no other Secret.
func (w *world) useUpQuota() func() {
	w.t.Helper()
	const counted = corev1.ResourceSecrets
	hard := corev1.ResourceList{counted: resource.MustParse("3")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "few-secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	must(w.t, w.k8s.Create(w.ctx, quota))
	// The controller that counts does not run here.
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard.DeepCopy()}
	must(w.t, w.k8s.Status().Update(w.ctx, quota))
	w.eventually("the quota is enforced", func(ctx context.Context) (bool, error) { return w.dryRun(ctx) != nil, nil })
	return func() {
		must(w.t, w.k8s.Delete(w.ctx, quota))
		w.eventually("the quota is gone", func(ctx context.Context) (bool, error) { return w.dryRun(ctx) == nil, nil })
	}
}

// dryRun tells whether a Secret like the operator's could be made.
func (w *world) dryRun(ctx context.Context) error {
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.ns, GenerateName: "probe-", Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
	}}
	return w.k8s.Create(ctx, probe, client.DryRunAll)
}

// denySecrets has the cluster refuse what the operator writes, in words that quote it.
func (w *world) denySecrets() func() {
	w.t.Helper()
	name := w.ns + "-no-secrets"
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
				MatchLabels: map[string]string{corev1.LabelMetadataName: w.ns},
			}},
		},
	}
	must(w.t, w.k8s.Create(w.ctx, policy))
	must(w.t, w.k8s.Create(w.ctx, binding))
	w.t.Cleanup(func() { _ = w.k8s.Delete(context.WithoutCancel(w.ctx), policy) })
	w.eventually("the policy is enforced", func(ctx context.Context) (bool, error) { return w.dryRun(ctx) != nil, nil })
	return func() {
		must(w.t, w.k8s.Delete(w.ctx, binding))
		w.eventually("the policy is off", func(ctx context.Context) (bool, error) { return w.dryRun(ctx) == nil, nil })
	}
}

// withoutPermission makes the operator somebody who may do all but what is not among the given rules.
func (w *world) withoutPermission() func() { return w.mayOnly(rbacv1.PolicyRule{}) }

// mayOnly makes the operator somebody who may read everything in the namespace, and write the kinds' status and what rule says;
// undone, it may write Secrets and request tokens too.
func (w *world) mayOnly(rule rbacv1.PolicyRule) func() {
	w.t.Helper()
	const name = "poor-operator"
	everyday := []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Rules: everyday}
	if len(rule.Verbs) > 0 {
		role.Rules = append(role.Rules, rule)
	}
	must(w.t, w.k8s.Create(w.ctx, role))
	must(w.t, w.k8s.Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: w.ns + "-operator"}},
	}))
	cfg := rest.CopyConfig(cluster.Config)
	cfg.Impersonate.UserName = w.ns + "-operator"
	poor := w.client(cfg)
	w.bindings.Client, w.bindings.Live = poor, poor
	secrets := &corev1.SecretList{}
	w.eventually("the role is known", func(ctx context.Context) (bool, error) {
		return poor.List(ctx, secrets, client.InNamespace(w.ns)) == nil, nil
	})
	return func() {
		role.Rules = append(slices.Clone(everyday),
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}},
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
		must(w.t, w.k8s.Update(w.ctx, role))
		w.eventually("the new role is known", func(ctx context.Context) (bool, error) {
			probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, GenerateName: "probe-"}}
			return !apierrors.IsForbidden(poor.Create(ctx, probe, client.DryRunAll)), nil
		})
	}
}

// A cluster that does not take the first Secret: the condition says who refuses and what to do, the one token that was exchanged
// waits in memory, is offered again within the bounds of the backoff, and is written once the cluster takes it.
func TestSecretWriteFaults(t *testing.T) {
	for name, tc := range secretFaults {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			resource, binding := w.install(), w.binding("reports")
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(resource)
			undo := tc.breakIt(w)
			w.requests.take()
			writes, waits := w.fail(binding, 5)
			undo()
			w.checkWrites(tc, binding, writes, waits)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, tc.reason)
			w.expect(binding, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
			w.absent(binding, v1alpha1.ConditionStalled)
			w.clock.Step(waits[len(waits)-1])
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

// The same when a token is to be replaced: the present one stays, and is good until it expires.
func TestSecretRewriteFaults(t *testing.T) {
	for name, tc := range secretFaults {
		if tc.creates {
			continue // a Secret that is there needs no more room
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, binding := w.ready()
			before := string(w.output(binding).Data["token"])
			undo := tc.breakIt(w)
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			w.requests.take()
			writes, waits := w.fail(binding, 5)
			w.checkWrites(tc, binding, writes, waits)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			if now := string(w.output(binding).Data["token"]); now != before {
				t.Error("the token in the Secret changed")
			}
			w.pages(w.output(binding))
			undo()
			w.clock.Step(waits[len(waits)-1])
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if now := string(w.output(binding).Data["token"]); now == before {
				t.Error("the token in the Secret is still the old one")
			}
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			w.noCanaries("canary-message")
		})
	}
}

// fail reconciles whenever the operator wants to, as often as attempts says, and in between as an unrelated event would. It
// gives how often the Secret was offered, and the waits.
func (w *world) fail(b *v1alpha1.ConfluenceTokenBinding, attempts int) (writes int, waits []time.Duration) {
	w.t.Helper()
	w.writes.take()
	for i := range attempts {
		if i > 0 {
			w.clock.Step(waits[i-1])
		}
		waits = append(waits, w.reconcileBinding(b).RequeueAfter)
		before := w.writes.count("PATCH /api/v1/namespaces/" + w.ns + "/secrets/")
		w.reconcileBinding(b)
		if after := w.writes.count("PATCH /api/v1/namespaces/" + w.ns + "/secrets/"); after != before {
			w.t.Error("an unrelated event cut the backoff short")
		}
	}
	return w.writes.count("PATCH /api/v1/namespaces/" + w.ns + "/secrets/"), waits
}

// checkWrites checks what a write that fails looks like, and how often it is tried.
func (w *world) checkWrites(tc clusterFault, b *v1alpha1.ConfluenceTokenBinding, writes int, waits []time.Duration) {
	w.t.Helper()
	message := w.expect(b, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, tc.reason)
	for _, part := range tc.says {
		if !strings.Contains(message, part) {
			w.t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	if writes > len(waits) {
		w.t.Errorf("%d writes in %d attempts", writes, len(waits))
	}
	for i, wait := range waits {
		soonest := refresh.RetryAfter(i+1, 0, "") / 2
		if strings.Contains(message, "TooManyRequests") {
			soonest = 30 * time.Second
		}
		if wait < soonest || wait > 2*time.Minute {
			w.t.Errorf("attempt %d is followed by a wait of %s, want at least %s", i+1, wait, soonest)
		}
	}
}
