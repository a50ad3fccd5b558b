// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

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
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// workload makes a workload that reads the token from its environment.
func workload(w *world.World, kind v1alpha1.RestartKind, name string) client.Object {
	w.T.Helper()
	labels := map[string]string{"app": name}
	object, selector := metav1.ObjectMeta{Namespace: w.NS, Name: name}, &metav1.LabelSelector{MatchLabels: labels}
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
	must.Succeed(w.T, w.K8s.Create(w.Ctx, o))
	return o
}

// rolledOut checks how often the pod template of a workload changed, and for which token it changed last.
func rolledOut(w *world.World, o client.Object, times int64, token *metav1.Time) {
	w.T.Helper()
	must.Succeed(w.T, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(o), o))
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
		w.T.Errorf("%T was rolled out %d times, last for the token of %q; want %d, %q", o, o.GetGeneration()-1, got, times, want)
	}
}

// restarting makes a ready binding that restarts workloads.
func restarting(w *world.World, spec v1alpha1.Restart) *v1alpha1.ConfluenceTokenBinding {
	w.T.Helper()
	install, b := w.Install(), w.Binding("reports")
	must.Succeed(w.T, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	b.Spec.Restart = &spec
	must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Writes.Take()
	w.Events.Take()
	return b
}

var permission = regexp.MustCompile(`(?m)^kubectl -n reports (create rolebinding keycard-operator-restart .+)$`)

// permitRestarts is what a namespace's admin does, as docs/tokens.md says.
func permitRestarts(w *world.World) {
	w.T.Helper()
	page, err := os.ReadFile("../../../docs/tokens.md")
	must.Succeed(w.T, err)
	command := permission.FindSubmatch(page)
	if command == nil {
		w.T.Fatal("docs/tokens.md does not say how to permit restarts")
	}
	_, err = world.Cluster.Kubectl(w.Ctx, append([]string{"-n", w.NS}, strings.Fields(string(command[1]))...)...)
	must.Succeed(w.T, err)
}

// dueAndFarFromTheLast is when the next token is due whatever its jitter, and the last restart longer ago than the interval.
func dueAndFarFromTheLast(w *world.World, b *v1alpha1.ConfluenceTokenBinding) {
	w.Clock.SetTime(b.Status.IssuedAt.Add(41 * time.Minute))
}

// restarts are the patches of workloads since the writes were last taken.
func restarts(w *world.World) int { return w.Writes.Count("/apis/apps/v1/") }

var oneDeployment = []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}}

// Workloads are restarted once for each token that replaces another, not closer than the interval, and for no other reason:
// not the first token, not a restart of the operator, not an edit of the list, not somebody else's edit.
func TestRestart(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	workloads := []client.Object{workload(w, "Deployment", "reports"), workload(w, "StatefulSet", "db"), workload(w, "DaemonSet", "agent")}
	b := restarting(w, v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{
		{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}, {Kind: "DaemonSet", Name: "agent"},
	}})
	check := func(why string, times int64, token *metav1.Time) {
		t.Helper()
		for _, o := range workloads {
			rolledOut(w, o, times, token)
		}
		if t.Failed() {
			t.Fatalf("failed after: %s", why)
		}
	}
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded)
	w.Connect()
	w.ReconcileBinding(b)
	check("the first token, and a restart of the operator", 0, nil)
	if writes := w.Writes.Take(); len(writes) != 0 {
		t.Errorf("a restart of the operator wrote %v", writes)
	}

	dueAndFarFromTheLast(w, b)
	w.ReconcileBinding(b)
	restarted := b.Status.IssuedAt
	check("a rotation", 1, restarted)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if writes := w.Writes.Take(); len(writes) != 3+len(workloads) {
		t.Errorf("a rotation with a restart wrote %v", writes)
	}
	if seen := w.Events.Take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Normal Restarted Restart") {
		t.Errorf("the events are %v", seen)
	}
	for range 2 {
		w.ReconcileBinding(b)
		w.Connect()
	}
	if writes := w.Writes.Take(); len(writes) != 0 {
		t.Errorf("nothing changed and %v was written", writes)
	}

	// Two tokens within the interval: two writes each, one to say that it is not over, and one restart when it is.
	for i := range 2 {
		w.Clock.Step(10 * time.Minute)
		ask(w, b, fmt.Sprint(i))
		w.Writes.Take()
		result := w.ReconcileBinding(b)
		w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartPending)
		w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if writes := w.Writes.Take(); len(writes) != 3-i {
			t.Errorf("a rotation without a restart wrote %v", writes)
		}
		if left := b.Status.Restart.RestartedAt.Add(30 * time.Minute).Sub(w.Clock.Now()); result.RequeueAfter != left {
			t.Errorf("it wakes in %s, the interval is over in %s", result.RequeueAfter, left)
		}
	}
	w.Connect()
	w.ReconcileBinding(b)
	check("two more tokens within the interval", 1, restarted)
	w.Clock.SetTime(b.Status.Restart.RestartedAt.Add(30 * time.Minute))
	w.Requests.Take()
	w.Writes.Take()
	w.ReconcileBinding(b)
	check("the interval is over", 2, b.Status.IssuedAt)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if writes := w.Writes.Take(); len(writes) != 1+len(workloads) {
		t.Errorf("a restart wrote %v", writes)
	}

	// Others edit the workload and the list.
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(workloads[0]), workloads[0]))
	theirs, ok := workloads[0].(*appsv1.Deployment)
	if !ok {
		t.Fatal("not a Deployment")
	}
	delete(theirs.Spec.Template.Annotations, v1alpha1.TokenIssuedAtAnnotation)
	must.Succeed(t, w.K8s.Update(w.Ctx, theirs))
	b.Spec.Restart.Targets, b.Spec.Restart.MinInterval = b.Spec.Restart.Targets[:2], "1h"
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.Writes.Take()
	w.ReconcileBinding(b)
	w.ReconcileBinding(b)
	if n := restarts(w) + w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("edits by others were answered with %v and %v", w.Writes.Take(), w.Requests.Take())
	}
	rolledOut(w, theirs, 3, nil)

	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(b))) // the repair needs another token
	w.Clock.SetTime(b.Status.Restart.RestartedAt.Add(time.Hour))
	w.ReconcileBinding(b)
	rolledOut(w, workloads[0], 4, b.Status.IssuedAt)
	rolledOut(w, workloads[1], 3, b.Status.IssuedAt)
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(workloads[2]), workloads[2]))
	if workloads[2].GetGeneration() != 3 {
		t.Error("a workload that is not listed any more was restarted")
	}

	b.Spec.Restart = nil
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Absent(b, v1alpha1.ConditionRestarted)
	if b.Status.Restart != nil {
		t.Errorf("status remembers %v", b.Status.Restart)
	}
}

// A new layout writes the Secret with the same token, and a status that is lost takes the token that is there for the one
// they have: neither restarts anything. Suspended, a restart that is owed waits.
func TestRestartNeedsAnotherToken(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	deployment := workload(w, "Deployment", "reports")
	b := restarting(w, v1alpha1.Restart{Targets: oneDeployment})
	b.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatEnv}
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.ReconcileBinding(b)
	if len(w.Output(b).Data["env"]) == 0 {
		t.Fatal("the layout did not follow")
	}
	rolledOut(w, deployment, 0, nil)

	dueAndFarFromTheLast(w, b)
	w.ReconcileBinding(b)
	first := b.Status.IssuedAt
	rolledOut(w, deployment, 1, first)
	b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must.Succeed(t, w.K8s.Status().Update(w.Ctx, b))
	w.Connect()
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded)
	rolledOut(w, deployment, 1, first)

	// The token was replaced, and the process died before it restarted anybody.
	dueAndFarFromTheLast(w, b)
	w.Writes.Dying = func(what string) (dropped, lost bool) {
		dead := strings.Contains(what, "/apis/")
		return dead, dead
	}
	_, _ = w.StepBinding(b)
	w.Writes.Dying = nil
	b.Spec.Suspend = new(true)
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.Connect()
	w.ReconcileBinding(b)
	rolledOut(w, deployment, 1, first)
	b.Spec.Suspend = nil
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.ReconcileBinding(b)
	rolledOut(w, deployment, 2, b.Status.IssuedAt)
}

// A process that is killed at any of its requests, before it is served or before the answer arrives, leaves workloads that
// its successor restarts, and restarts once.
func TestRestartSurvivesKills(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	workloads := []client.Object{workload(w, "Deployment", "reports"), workload(w, "StatefulSet", "db")}
	b := restarting(w, v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}}})
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
			dueAndFarFromTheLast(w, b)
			w.Connect()
			w.Requests.Dying, w.Writes.Dying = die, die
			_, _ = w.StepBinding(b)
			w.Requests.Dying, w.Writes.Dying = nil, nil
			w.Connect()
			w.ReconcileBinding(b)
			rotations++
			for _, o := range workloads {
				rolledOut(w, o, rotations, b.Status.IssuedAt)
			}
			w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
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
	w := world.New(t)
	shippedAccount(w)
	deployment := workload(w, "Deployment", "reports")
	b := restarting(w, v1alpha1.Restart{Targets: oneDeployment})
	dueAndFarFromTheLast(w, b)
	w.Writes.Take()
	for end := w.Clock.Now().Add(time.Hour); w.Clock.Now().Before(end); w.Clock.Step(time.Minute) {
		w.ReconcileBinding(b)
		w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	}
	if n := restarts(w); n < 2 || n > 6 {
		t.Errorf("it tried %d times in an hour", n)
	}
	if seen := w.Events.Take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Warning RestartForbidden Restart") {
		t.Errorf("the events are %v", seen)
	}
	rolledOut(w, deployment, 0, nil)

	message := w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartForbidden)
	command := permits.FindStringSubmatch(message)
	if command == nil {
		t.Fatalf("the remedy is %q", message)
	}
	out, err := world.Cluster.Kubectl(w.Ctx, strings.Fields(command[1])...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 15 {
		result := w.ReconcileBinding(b)
		if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionRestarted) {
			break // the next token may be due before the interval is over
		}
		w.Clock.Step(min(result.RequeueAfter, time.Minute))
	}
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	rolledOut(w, deployment, 1, b.Status.Restart.TokenIssuedAt)
	// The permission is for this namespace and for nothing but patches.
	reader := w.Client(w.Account)
	if err := reader.List(w.Ctx, &appsv1.DeploymentList{}, client.InNamespace(w.NS)); err == nil {
		t.Error("it may list workloads")
	}
}

// A workload that is not there keeps nobody else from being restarted, and is not tried again by time, because it starts with
// the token that is there; a correction of the spec tries at once.
func TestRestartMissingTarget(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	deployment := workload(w, "Deployment", "reports")
	b := restarting(w, v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "dbb"}}})
	dueAndFarFromTheLast(w, b)
	w.ReconcileBinding(b)
	restarted := b.Status.IssuedAt
	rolledOut(w, deployment, 1, restarted)
	message := w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartTargetNotFound)
	if message != "StatefulSet dbb does not exist. Create it, or correct spec.restart.targets" {
		t.Errorf("the message is %q", message)
	}
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if seen := w.Events.Take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Warning RestartTargetNotFound Restart") {
		t.Errorf("the events are %v", seen)
	}
	late := workload(w, "StatefulSet", "dbb")
	w.Writes.Take()
	for range 3 {
		w.Clock.Step(5 * time.Minute)
		w.ReconcileBinding(b)
		w.Connect()
	}
	if writes := w.Writes.Take(); len(writes) != 0 {
		t.Errorf("it wrote %v", writes)
	}
	rolledOut(w, late, 0, nil)

	right := workload(w, "StatefulSet", "db")
	b.Spec.Restart.Targets[1].Name = "db"
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	rolledOut(w, right, 1, restarted)
	rolledOut(w, deployment, 1, restarted)
	w.ReconcileBinding(b)
	rolledOut(w, right, 1, restarted)

	// All of them are gone: the next token is theirs when they are made again.
	for _, o := range []client.Object{deployment, right} {
		must.Succeed(t, w.K8s.Delete(w.Ctx, o))
	}
	w.Clock.Step(30 * time.Minute)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartTargetNotFound)
	again := workload(w, "Deployment", "reports")
	w.Writes.Take()
	w.ReconcileBinding(b)
	w.Connect()
	w.ReconcileBinding(b)
	if n := restarts(w); n != 0 {
		t.Errorf("%d restarts of what was just made", n)
	}
	dueAndFarFromTheLast(w, b)
	w.ReconcileBinding(b)
	rolledOut(w, again, 1, b.Status.IssuedAt)
}

// A cluster that fails for a moment is tried again soon.
func TestRestartFails(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	deployment := workload(w, "Deployment", "reports")
	b := restarting(w, v1alpha1.Restart{Targets: oneDeployment})
	dueAndFarFromTheLast(w, b)
	w.Writes.Dying = func(what string) (dropped, lost bool) {
		failing := strings.Contains(what, "/apis/apps/v1/")
		return failing, failing
	}
	result := w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if result.RequeueAfter > 2*time.Second {
		t.Errorf("it is tried again in %s", result.RequeueAfter)
	}
	w.Writes.Dying = nil
	w.Clock.Step(result.RequeueAfter)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	rolledOut(w, deployment, 1, b.Status.IssuedAt)
}

// The whole operator restarts workloads with its shipped permissions, and counts it.
func TestRestartWithCaches(t *testing.T) {
	w := world.New(t, world.RealTime)
	shippedAccount(w)
	permitRestarts(w)
	deployment := workload(w, "Deployment", "reports")
	install, b := w.Install(), w.Binding("reports")
	b.Spec.Restart = &v1alpha1.Restart{Targets: oneDeployment}
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, b))
	o := w.StartOperator()
	w.UntilReady(b)
	first := b.Status.IssuedAt
	w.Eventually("the token is another second's", func(context.Context) (bool, error) { return time.Since(first.Time) > time.Second, nil })
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(b))) // the repair needs another token
	w.Eventually("it is restarted", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.Restart != nil && b.Status.Restart.RestartedAt != nil, err
	})
	if !slices.Contains(o.Gathered(), "keycard_restarts_total{} 1") {
		t.Errorf("the metrics are %v", o.Gathered())
	}
	o.Stop()
	rolledOut(w, deployment, 1, b.Status.Restart.TokenIssuedAt)
}

// A workload that is refused, each time for another reason, keeps no other from the next restart: the interval counts from when
// a workload was last reached. Status names what is pending, and for a reason that does not change with the cluster's words.
func TestRestartThatKeepsFailing(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	deployment, stuck := workload(w, "Deployment", "reports"), workload(w, "StatefulSet", "db")
	b := restarting(w, v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "reports"}, {Kind: "StatefulSet", Name: "db"}}})
	dueAndFarFromTheLast(w, b)
	refuse := func(code int, reason metav1.StatusReason) {
		w.Writes.Instead = func(r *http.Request) (*http.Response, error) {
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
	result := w.ReconcileBinding(b)
	restarted, token := b.Status.Restart.RestartedAt, b.Status.IssuedAt
	if message := w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed); !strings.Contains(message, "InternalError") {
		t.Fatalf("the message is %q", message)
	}
	refuse(http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
	w.Clock.Step(result.RequeueAfter + time.Second)
	w.ReconcileBinding(b)
	if message := w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionFalse, v1alpha1.ReasonRestartFailed); !strings.Contains(message, "Timeout") {
		t.Fatalf("the message is %q", message)
	}
	if !b.Status.Restart.RestartedAt.Equal(restarted) {
		t.Errorf("the interval counts from %s, and workloads were last restarted at %s", b.Status.Restart.RestartedAt, restarted)
	}
	want := []v1alpha1.PendingRestart{{Kind: "StatefulSet", Name: "db", Reason: v1alpha1.ReasonRestartFailed}}
	if !slices.Equal(b.Status.Restart.Pending, want) {
		t.Errorf("pending are %v", b.Status.Restart.Pending)
	}
	rolledOut(w, deployment, 1, token)
	rolledOut(w, stuck, 0, nil)

	w.Writes.Instead = nil
	w.Connect()
	w.Clock.Step(time.Minute)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	rolledOut(w, stuck, 1, token)
	if !b.Status.Restart.RestartedAt.After(restarted.Time) || len(b.Status.Restart.Pending) != 0 {
		t.Errorf("status remembers %v", b.Status.Restart)
	}
}

// Two controllers write the status of one binding. One that wrote on top of what it read a while ago is turned down, and writes
// again on top of what the other wrote: nothing of either is lost.
func TestRestartKeepsWhatTheOtherWrote(t *testing.T) {
	w := world.New(t)
	shippedAccount(w)
	permitRestarts(w)
	deployment := workload(w, "Deployment", "reports")
	b := restarting(w, v1alpha1.Restart{Targets: oneDeployment})
	dueAndFarFromTheLast(w, b)
	_, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	must.Succeed(t, err)
	crossed := false
	w.Writes.Instead = func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/apis/apps/v1/") && !crossed { // as the other does, between the read and the write
			crossed = true
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
			b.Status.User = "written in between"
			meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonVerified})
			must.Succeed(t, w.K8s.Status().Update(w.Ctx, b))
		}
		return nil, nil //nolint:nilnil // it passes
	}
	_, err = w.Rollouts.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	must.Succeed(t, err)
	w.Writes.Instead = nil
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
	w.Expect(b, v1alpha1.ConditionRestarted, metav1.ConditionTrue, v1alpha1.ReasonRestarted)
	if !crossed || b.Status.User != "written in between" || !meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionVerified) {
		t.Errorf("crossed: %v; status is %+v", crossed, b.Status)
	}
	rolledOut(w, deployment, 1, b.Status.IssuedAt)
	if n := restarts(w); n != 1 {
		t.Errorf("%d restarts", n)
	}
}
