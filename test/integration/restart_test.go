// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// workload makes a workload that reads the token from its environment.
func (w *world) workload(kind v1alpha1.RestartKind, name string) client.Object {
	w.t.Helper()
	labels := map[string]string{"app": name}
	object, selector := metav1.ObjectMeta{Namespace: w.ns, Name: name}, &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"theirs": "kept"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "reports", Image: "registry.example.com/reports:v1"}}},
	}
	var o client.Object
	switch kind {
	case "StatefulSet":
		o = &appsv1.StatefulSet{ObjectMeta: object, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}}
	case "DaemonSet":
		o = &appsv1.DaemonSet{ObjectMeta: object, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}
	default:
		o = &appsv1.Deployment{ObjectMeta: object, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}
	}
	must(w.t, w.k8s.Create(w.ctx, o))
	return o
}

// rolledOut checks how often the pod template of a workload changed, and for which token it changed last.
func (w *world) rolledOut(o client.Object, times int64, token *metav1.Time) {
	w.t.Helper()
	must(w.t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(o), o))
	var template corev1.PodTemplateSpec
	switch o := o.(type) {
	case *appsv1.Deployment:
		template = o.Spec.Template
	case *appsv1.StatefulSet:
		template = o.Spec.Template
	case *appsv1.DaemonSet:
		template = o.Spec.Template
	}
	want := ""
	if token != nil {
		want = token.UTC().Format(time.RFC3339)
	}
	if got := template.Annotations[v1alpha1.TokenIssuedAtAnnotation]; got != want || o.GetGeneration() != 1+times || template.Annotations["theirs"] != "kept" {
		w.t.Errorf("%T was rolled out %d times, last for the token of %q; want %d, %q", o, o.GetGeneration()-1, got, times, want)
	}
}

// restarting makes a ready binding that restarts workloads.
func (w *world) restarting(spec v1alpha1.Restart) *v1alpha1.ConfluenceTokenBinding {
	w.t.Helper()
	install, b := w.install(), w.binding("reports")
	must(w.t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	b.Spec.Restart = &spec
	must(w.t, w.k8s.Create(w.ctx, b))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.writes.take()
	w.events.take()
	return b
}

var permission = regexp.MustCompile(`(?m)^kubectl -n reports (create rolebinding keycard-operator-restart .+)$`)

// permitRestarts is what a namespace's admin does, as docs/tokens.md says.
func (w *world) permitRestarts() {
	w.t.Helper()
	page, err := os.ReadFile("../../docs/tokens.md")
	must(w.t, err)
	command := permission.FindSubmatch(page)
	if command == nil {
		w.t.Fatal("docs/tokens.md does not say how to permit restarts")
	}
	_, err = cluster.Kubectl(w.ctx, append([]string{"-n", w.ns}, strings.Fields(string(command[1]))...)...)
	must(w.t, err)
}

// dueAndFarFromTheLast is when the next token is due whatever its jitter, and the last restart longer ago than the interval.
func (w *world) dueAndFarFromTheLast(b *v1alpha1.ConfluenceTokenBinding) {
	w.clock.SetTime(b.Status.IssuedAt.Add(41 * time.Minute))
}

// restarts are the patches of workloads since the writes were last taken.
func (w *world) restarts() int { return w.writes.count("/apis/apps/v1/") }

var oneDeployment = []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}}

// Workloads are restarted once for each token that replaces another, not closer than the interval, and for no other reason:
// not the first token, not a restart of the operator, not an edit of the list, not somebody else's edit.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	workloads := []client.Object{w.workload("Deployment", "reports"), w.workload("StatefulSet", "db"), w.workload("DaemonSet", "agent")}
	b := w.restarting(v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{
		{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}, {Kind: "DaemonSet", Name: "agent"},
	}})
	check := func(why string, times int64, token *metav1.Time) {
		t.Helper()
		for _, o := range workloads {
			w.rolledOut(o, times, token)
		}
		if t.Failed() {
			t.Fatalf("failed after: %s", why)
		}
	}
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded)
	w.connect()
	w.reconcileBinding(b)
	check("the first token, and a restart of the operator", 0, nil)
	if writes := w.writes.take(); len(writes) != 0 {
		t.Errorf("a restart of the operator wrote %v", writes)
	}

	w.dueAndFarFromTheLast(b)
	w.reconcileBinding(b)
	restarted := b.Status.IssuedAt
	check("a rotation", 1, restarted)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if writes := w.writes.take(); len(writes) != 3+len(workloads) {
		t.Errorf("a rotation with a restart wrote %v", writes)
	}
	if seen := w.events.take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Normal Restarted Restart") {
		t.Errorf("the events are %v", seen)
	}
	for range 2 {
		w.reconcileBinding(b)
		w.connect()
	}
	if writes := w.writes.take(); len(writes) != 0 {
		t.Errorf("nothing changed and %v was written", writes)
	}

	// Two tokens within the interval: two writes each, one to say that it is not over, and one restart when it is.
	for i := range 2 {
		w.clock.Step(10 * time.Minute)
		w.ask(b, fmt.Sprint(i))
		w.writes.take()
		result := w.reconcileBinding(b)
		w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartPending)
		w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if writes := w.writes.take(); len(writes) != 3-i {
			t.Errorf("a rotation without a restart wrote %v", writes)
		}
		if left := b.Status.Restart.RestartedAt.Add(30 * time.Minute).Sub(w.clock.Now()); result.RequeueAfter != left {
			t.Errorf("it wakes in %s, the interval is over in %s", result.RequeueAfter, left)
		}
	}
	w.connect()
	w.reconcileBinding(b)
	check("two more tokens within the interval", 1, restarted)
	w.clock.SetTime(b.Status.Restart.RestartedAt.Add(30 * time.Minute))
	w.requests.take()
	w.writes.take()
	w.reconcileBinding(b)
	check("the interval is over", 2, b.Status.IssuedAt)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if writes := w.writes.take(); len(writes) != 1+len(workloads) {
		t.Errorf("a restart wrote %v", writes)
	}

	// Others edit the workload and the list.
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(workloads[0]), workloads[0]))
	theirs, ok := workloads[0].(*appsv1.Deployment)
	if !ok {
		t.Fatal("not a Deployment")
	}
	delete(theirs.Spec.Template.Annotations, v1alpha1.TokenIssuedAtAnnotation)
	must(t, w.k8s.Update(w.ctx, theirs))
	b.Spec.Restart.Targets, b.Spec.Restart.MinInterval = b.Spec.Restart.Targets[:2], "1h"
	must(t, w.k8s.Update(w.ctx, b))
	w.writes.take()
	w.reconcileBinding(b)
	w.reconcileBinding(b)
	if n := w.restarts() + w.requests.count(exchanges); n != 0 {
		t.Errorf("edits by others were answered with %v and %v", w.writes.take(), w.requests.take())
	}
	w.rolledOut(theirs, 3, nil)

	must(t, w.k8s.Delete(w.ctx, w.output(b))) // the repair needs another token
	w.clock.SetTime(b.Status.Restart.RestartedAt.Add(time.Hour))
	w.reconcileBinding(b)
	w.rolledOut(workloads[0], 4, b.Status.IssuedAt)
	w.rolledOut(workloads[1], 3, b.Status.IssuedAt)
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(workloads[2]), workloads[2]))
	if workloads[2].GetGeneration() != 3 {
		t.Error("a workload that is not listed any more was restarted")
	}

	b.Spec.Restart = nil
	must(t, w.k8s.Update(w.ctx, b))
	w.reconcileBinding(b)
	w.absent(b, v1alpha1.ConditionRestarted)
	if b.Status.Restart != nil {
		t.Errorf("status remembers %v", b.Status.Restart)
	}
}

// A new layout writes the Secret with the same token, and a status that is lost takes the token that is there for the one
// they have: neither restarts anything. Suspended, a restart that is owed waits.
func TestRestartNeedsAnotherToken(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	deployment := w.workload("Deployment", "reports")
	b := w.restarting(v1alpha1.Restart{Targets: oneDeployment})
	b.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatEnv}
	must(t, w.k8s.Update(w.ctx, b))
	w.reconcileBinding(b)
	if len(w.output(b).Data["env"]) == 0 {
		t.Fatal("the layout did not follow")
	}
	w.rolledOut(deployment, 0, nil)

	w.dueAndFarFromTheLast(b)
	w.reconcileBinding(b)
	first := b.Status.IssuedAt
	w.rolledOut(deployment, 1, first)
	b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must(t, w.k8s.Status().Update(w.ctx, b))
	w.connect()
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded)
	w.rolledOut(deployment, 1, first)

	// The token was replaced, and the process died before it restarted anybody.
	w.dueAndFarFromTheLast(b)
	w.writes.dying = func(what string) (dropped, lost bool) {
		dead := strings.Contains(what, "/apis/")
		return dead, dead
	}
	_, _ = w.stepBinding(b)
	w.writes.dying = nil
	b.Spec.Suspend = new(true)
	must(t, w.k8s.Update(w.ctx, b))
	w.connect()
	w.reconcileBinding(b)
	w.rolledOut(deployment, 1, first)
	b.Spec.Suspend = nil
	must(t, w.k8s.Update(w.ctx, b))
	w.reconcileBinding(b)
	w.rolledOut(deployment, 2, b.Status.IssuedAt)
}

// A process that is killed at any of its requests, before it is served or before the answer arrives, leaves workloads that
// its successor restarts, and restarts once.
func TestRestartSurvivesKills(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	workloads := []client.Object{w.workload("Deployment", "reports"), w.workload("StatefulSet", "db")}
	b := w.restarting(v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}}})
	steps, rotations := 0, int64(0)
	var mu sync.Mutex
	for at := 1; at == steps+1; at++ {
		for _, served := range []bool{false, true} {
			seen := 0
			die := func(string) (dropped, lost bool) {
				mu.Lock() // the zone's requests and the cluster's are counted together
				defer mu.Unlock()
				seen++
				return seen > at || seen == at && !served, seen == at
			}
			w.dueAndFarFromTheLast(b)
			w.connect()
			w.requests.dying, w.writes.dying = die, die
			_, _ = w.stepBinding(b)
			w.requests.dying, w.writes.dying = nil, nil
			w.connect()
			w.reconcileBinding(b)
			rotations++
			for _, o := range workloads {
				w.rolledOut(o, rotations, b.Status.IssuedAt)
			}
			w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
			if t.Failed() {
				t.Fatalf("killed at request %d, served: %v", at, served)
			}
			if seen < at {
				break // the life had fewer requests
			}
			steps = at
		}
	}
	if steps < 5 { // the exchange, the Secret, two workloads, the status
		t.Errorf("killed at %d requests only", steps)
	}
	t.Logf("killed at %d requests, before and after each", steps)
}

var permits = regexp.MustCompile(`run kubectl (.+)$`)

// Without permission the token is as good as ever: the condition has the command that permits it, which works as it stands,
// and the operator tries no more than six times an hour.
func TestRestartForbidden(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	deployment := w.workload("Deployment", "reports")
	b := w.restarting(v1alpha1.Restart{Targets: oneDeployment})
	w.dueAndFarFromTheLast(b)
	w.writes.take()
	for end := w.clock.Now().Add(time.Hour); w.clock.Now().Before(end); w.clock.Step(time.Minute) {
		w.reconcileBinding(b)
		w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	}
	if n := w.restarts(); n < 2 || n > 6 {
		t.Errorf("it tried %d times in an hour", n)
	}
	if seen := w.events.take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Warning RestartForbidden Restart") {
		t.Errorf("the events are %v", seen)
	}
	w.rolledOut(deployment, 0, nil)

	message := w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartForbidden)
	command := permits.FindStringSubmatch(message)
	if command == nil {
		t.Fatalf("the remedy is %q", message)
	}
	out, err := cluster.Kubectl(w.ctx, strings.Fields(command[1])...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 15 {
		result := w.reconcileBinding(b)
		if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionRestarted) {
			break // the next token may be due before the interval is over
		}
		w.clock.Step(min(result.RequeueAfter, time.Minute))
	}
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	w.rolledOut(deployment, 1, b.Status.Restart.TokenIssuedAt)
	// The permission is for this namespace and for nothing but patches.
	reader := w.client(w.account)
	if err := reader.List(w.ctx, &appsv1.DeploymentList{}, client.InNamespace(w.ns)); err == nil {
		t.Error("it may list workloads")
	}
}

// A workload that is not there keeps nobody else from being restarted, and is not tried again by time, because it starts with
// the token that is there; a correction of the spec tries at once.
func TestRestartMissingTarget(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	deployment := w.workload("Deployment", "reports")
	b := w.restarting(v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "dbb"}}})
	w.dueAndFarFromTheLast(b)
	w.reconcileBinding(b)
	restarted := b.Status.IssuedAt
	w.rolledOut(deployment, 1, restarted)
	message := w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartTargetNotFound)
	if message != "StatefulSet dbb does not exist: create it, or correct spec.restart.targets" {
		t.Errorf("the message is %q", message)
	}
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if seen := w.events.take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Warning RestartTargetNotFound Restart") {
		t.Errorf("the events are %v", seen)
	}
	late := w.workload("StatefulSet", "dbb")
	w.writes.take()
	for range 3 {
		w.clock.Step(5 * time.Minute)
		w.reconcileBinding(b)
		w.connect()
	}
	if writes := w.writes.take(); len(writes) != 0 {
		t.Errorf("it wrote %v", writes)
	}
	w.rolledOut(late, 0, nil)

	right := w.workload("StatefulSet", "db")
	b.Spec.Restart.Targets[1].Name = "db"
	must(t, w.k8s.Update(w.ctx, b))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	w.rolledOut(right, 1, restarted)
	w.rolledOut(deployment, 1, restarted)
	w.reconcileBinding(b)
	w.rolledOut(right, 1, restarted)

	// All of them are gone: the next token is theirs when they are made again.
	for _, o := range []client.Object{deployment, right} {
		must(t, w.k8s.Delete(w.ctx, o))
	}
	w.clock.Step(30 * time.Minute)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartTargetNotFound)
	again := w.workload("Deployment", "reports")
	w.writes.take()
	w.reconcileBinding(b)
	w.connect()
	w.reconcileBinding(b)
	if n := w.restarts(); n != 0 {
		t.Errorf("%d restarts of what was just made", n)
	}
	w.dueAndFarFromTheLast(b)
	w.reconcileBinding(b)
	w.rolledOut(again, 1, b.Status.IssuedAt)
}

// A cluster that fails for a moment is tried again soon.
func TestRestartFails(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	deployment := w.workload("Deployment", "reports")
	b := w.restarting(v1alpha1.Restart{Targets: oneDeployment})
	w.dueAndFarFromTheLast(b)
	w.writes.dying = func(what string) (dropped, lost bool) {
		failing := strings.Contains(what, "/apis/apps/v1/")
		return failing, failing
	}
	result := w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if result.RequeueAfter > 2*time.Second {
		t.Errorf("it is tried again in %s", result.RequeueAfter)
	}
	w.writes.dying = nil
	w.clock.Step(result.RequeueAfter)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	w.rolledOut(deployment, 1, b.Status.IssuedAt)
}

// The whole operator restarts workloads with its shipped permissions, and counts it.
func TestRestartWithCaches(t *testing.T) {
	w := newWorld(t, realTime)
	w.shippedAccount()
	w.permitRestarts()
	deployment := w.workload("Deployment", "reports")
	install, b := w.install(), w.binding("reports")
	b.Spec.Restart = &v1alpha1.Restart{Targets: oneDeployment}
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, b))
	o := w.startOperator()
	w.untilReady(b)
	first := b.Status.IssuedAt
	w.eventually("the token is another second's", func(context.Context) (bool, error) { return time.Since(first.Time) > time.Second, nil })
	must(t, w.k8s.Delete(w.ctx, w.output(b))) // the repair needs another token
	w.eventually("it is restarted", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.Restart != nil && b.Status.Restart.RestartedAt != nil, err
	})
	if !slices.Contains(o.gathered(), "keycard_restarts_total{} 1") {
		t.Errorf("the metrics are %v", o.gathered())
	}
	o.stop()
	w.rolledOut(deployment, 1, b.Status.Restart.TokenIssuedAt)
}

// A workload that is refused, each time for another reason, keeps no other from the next restart: the interval counts from when
// a workload was last reached. Status names what is pending, and for a reason that does not change with the cluster's words.
func TestRestartThatKeepsFailing(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	deployment, stuck := w.workload("Deployment", "reports"), w.workload("StatefulSet", "db")
	b := w.restarting(v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}}})
	w.dueAndFarFromTheLast(b)
	refuse := func(code int, reason metav1.StatusReason) {
		w.writes.instead = func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/statefulsets/") {
				return nil, nil //nolint:nilnil // it passes
			}
			body := fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": %d, "reason": %q}`, code, reason)
			return &http.Response{
				StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}, nil
		}
	}
	refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError)
	result := w.reconcileBinding(b)
	restarted, token := b.Status.Restart.RestartedAt, b.Status.IssuedAt
	if message := w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed); !strings.Contains(message, "InternalError") {
		t.Fatalf("the message is %q", message)
	}
	refuse(http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
	w.clock.Step(result.RequeueAfter + time.Second)
	w.reconcileBinding(b)
	if message := w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed); !strings.Contains(message, "Timeout") {
		t.Fatalf("the message is %q", message)
	}
	if !b.Status.Restart.RestartedAt.Equal(restarted) {
		t.Errorf("the interval counts from %s, and workloads were last restarted at %s", b.Status.Restart.RestartedAt, restarted)
	}
	want := []v1alpha1.PendingRestart{{Kind: "StatefulSet", Name: "db", Reason: v1alpha1.ReasonRestartFailed}}
	if !slices.Equal(b.Status.Restart.Pending, want) {
		t.Errorf("pending are %v", b.Status.Restart.Pending)
	}
	w.rolledOut(deployment, 1, token)
	w.rolledOut(stuck, 0, nil)

	w.writes.instead = nil
	w.connect()
	w.clock.Step(time.Minute)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	w.rolledOut(stuck, 1, token)
	if !b.Status.Restart.RestartedAt.After(restarted.Time) || len(b.Status.Restart.Pending) != 0 {
		t.Errorf("status remembers %v", b.Status.Restart)
	}
}

// Two controllers write the status of one binding. One that wrote on top of what it read a while ago is turned down, and writes
// again on top of what the other wrote: nothing of either is lost.
func TestRestartKeepsWhatTheOtherWrote(t *testing.T) {
	w := newWorld(t)
	w.shippedAccount()
	w.permitRestarts()
	deployment := w.workload("Deployment", "reports")
	b := w.restarting(v1alpha1.Restart{Targets: oneDeployment})
	w.dueAndFarFromTheLast(b)
	_, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	must(t, err)
	crossed := false
	w.writes.instead = func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/apis/apps/v1/") && !crossed { // as the other does, between the read and the write
			crossed = true
			must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
			b.Status.User = "written in between"
			meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonVerified})
			must(t, w.k8s.Status().Update(w.ctx, b))
		}
		return nil, nil //nolint:nilnil // it passes
	}
	_, err = w.rollouts.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	must(t, err)
	w.writes.instead = nil
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
	w.expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if !crossed || b.Status.User != "written in between" || !meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionVerified) {
		t.Errorf("crossed: %v; status is %+v", crossed, b.Status)
	}
	w.rolledOut(deployment, 1, b.Status.IssuedAt)
	if n := w.restarts(); n != 1 {
		t.Errorf("%d restarts", n)
	}
}
