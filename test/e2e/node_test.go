// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/must"
)

// rotations is how many rotations the pod lives through.
const rotations = 5

// What is measured depends on the machine. These are the figures that make an application fail, or that tell of a test
// which does not do what it says.
const (
	leastRate = 5 // requests in a second; ten are tried
	mostDelay = refresh.MountPropagation
)

// A pod whose token lives two minutes calls Confluence ten times a second through rotations while everything around it is
// restarted just as the next token is due, and no call fails. What it needs was applied in the wrong order, and its identity is
// its ServiceAccount's.
func TestPod(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"anything may come first", w.convergesInAnyOrder},
		{"two replicas run as shipped", w.twoReplicas},
		{"the mounted files are the pod's alone", w.mountedFiles},
		{"a pod that did not wait gets its files", w.optionalSecret},
		{"the leader's pod is killed", w.killLeader},
		{"kubelet is restarted", func(t *testing.T) { w.restart(t, w.node.RestartKubelet) }},
		{"no container was restarted", w.neverRestarted},
		{"the control plane is restarted", func(t *testing.T) { w.restart(t, w.cluster.Restart) }},
		{"the shipped NetworkPolicy", w.networkPolicy},
		{"the examples of docs/tokens.md", w.examples},
		{"the rest of the rotations", func(t *testing.T) { w.untilRotations(t, rotations) }},
		{"no probe ended a container", w.probesContent},
		{"the figures", w.figures},
	} {
		if !t.Run(step.name, step.run) {
			break
		}
	}
}

// convergesInAnyOrder applies the pod before the binding, that before the install, and that before its Secrets.
func (w *world) convergesInAnyOrder(t *testing.T) {
	w.apply(t, "namespaces", "pod", "early")
	w.eventually(t, "the pod waits for its Secret", func(ctx context.Context) (bool, error) {
		out, err := w.cluster.Kubectl(ctx, "-n", "reports", "get", "events", "-o", "jsonpath={.items[*].message}")
		return strings.Contains(out, `secret "confluence-token" not found`), err
	})
	w.eventually(t, "the other pod runs without", func(ctx context.Context) (bool, error) {
		out, err := w.cluster.Kubectl(ctx, "-n", "reports", "get", "pod", "early", "-o", "jsonpath={.status.phase}")
		return out == string(corev1.PodRunning), err
	})
	w.apply(t, "binding")
	w.untilReason(t, "reports", "ctb/reports", v1alpha1.ReasonResourceNotFound)
	w.apply(t, "install")
	w.untilReason(t, "platform", "kcr/confluence", v1alpha1.ReasonSecretNotFound)
	applied := time.Now()
	w.apply(t, "secrets")
	w.untilReason(t, "platform", "kcr/confluence", v1alpha1.ReasonReady)
	w.untilReason(t, "reports", "ctb/reports", v1alpha1.ReasonReady)
	t.Logf("Ready %s after the last Secret", time.Since(applied).Round(100*time.Millisecond))
	w.eventually(t, "the pod calls Confluence", func(context.Context) (bool, error) {
		lines, err := w.lines()
		return len(lines) > 0, err
	})
	t.Logf("the pod's first call %s after the last Secret", time.Since(applied).Round(100*time.Millisecond))
}

// mountedFiles checks that the files are readable for the pod's group only, and for nobody to write.
func (w *world) mountedFiles(t *testing.T) {
	out, err := w.cluster.Kubectl(t.Context(), "-n", "reports", "get", "pod", "reports", "-o", "jsonpath={.status.phase}")
	must.Succeed(t, err)
	if out != string(corev1.PodRunning) {
		t.Errorf("the pod is %s", out)
	}
	w.expectMode(t, "token.json", 0o440, 65532)
}

// optionalSecret checks that a pod which started without its Secret has its files now.
func (w *world) optionalSecret(t *testing.T) {
	file := filepath.Join(w.node.Volume(w.podUID(t, "early"), "confluence-token"), "token.json")
	w.eventually(t, "the pod that did not wait has its files", func(context.Context) (bool, error) {
		_, err := os.Stat(file)
		return err == nil, err
	})
	out, err := w.cluster.Kubectl(t.Context(), "-n", "reports", "get", "pod", "early", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
	if err != nil || out != "0" {
		t.Errorf("it was restarted %s times: %v", out, err)
	}
}

// nearness is how long before a refresh a disturbance begins.
const nearness = 2 * time.Second

// restart restarts something shortly before a refresh is due, and waits until the pod sees a token that is younger than that.
func (w *world) restart(t *testing.T, restart func() error) {
	w.untilRefreshIsNear(t)
	start := time.Now()
	must.Succeed(t, restart())
	over := time.Now()
	t.Logf("done in %s", round(over.Sub(start)))
	w.untilTokenSince(t, over)
	w.untilTwoReady(t)
}

// untilRefreshIsNear waits until the operator is about to ask for the next token.
func (w *world) untilRefreshIsNear(t *testing.T) {
	t.Helper()
	var left time.Duration
	w.eventually(t, "a refresh is near", func(ctx context.Context) (bool, error) {
		var binding v1alpha1.ConfluenceTokenBinding
		if err := w.objects.Get(ctx, client.ObjectKey{Namespace: "reports", Name: "reports"}, &binding); err != nil {
			return false, err
		}
		if binding.Status.RefreshAt == nil {
			return false, errors.New("there is no status.refreshAt")
		}
		left = time.Until(binding.Status.RefreshAt.Time)
		return left > 0 && left <= nearness, nil
	})
	t.Logf("a refresh is due in %s", round(left))
}

// untilTokenSince waits until the pod uses a token that was issued later than that. Its calls may not fail meanwhile.
func (w *world) untilTokenSince(t *testing.T, over time.Time) {
	t.Helper()
	w.eventually(t, "the pod has a token of after "+over.Format(time.TimeOnly), func(context.Context) (bool, error) {
		for issued := range w.seen(t) {
			at, err := time.Parse(time.RFC3339, issued)
			if err != nil || at.After(over) {
				return err == nil, err
			}
		}
		return false, nil
	})
	t.Logf("the pod had a token of after it %s later", round(time.Since(over)))
}

// probesContent checks that no probe ended a container. A leader whose control plane is away for long ends itself, and may.
func (w *world) probesContent(t *testing.T) {
	events, err := w.clients.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	must.Succeed(t, err)
	for _, e := range events.Items {
		if strings.Contains(e.Message, "failed liveness probe") {
			t.Errorf("%s %s: %s", e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Message)
		}
	}
}

// untilRotations waits until the pod saw so many rotations, one after the other. Its calls may not fail meanwhile.
func (w *world) untilRotations(t *testing.T, n int) {
	t.Helper()
	for some := 1; some <= n; some++ {
		w.eventually(t, fmt.Sprintf("%d rotations", some), func(context.Context) (bool, error) {
			return len(w.seen(t))-1 >= some, nil
		})
	}
}

// report is a line of the consumer.
type report struct {
	// At is when the runtime read it.
	At                          time.Time `json:"-"`
	Seen                        time.Time
	IssuedAt                    string
	Requests, Failures, Retries int
	Error                       string
}

// lines are those that the consumer printed.
func (w *world) lines() ([]report, error) {
	log, err := w.node.PodLogs("reports", "reports", "reports")
	if err != nil {
		return nil, err
	}
	var reports []report
	for l := range strings.Lines(log) {
		// The runtime's prefix is the time, the stream and a tag.
		at, text, found := strings.Cut(l, " stdout F ")
		var r report
		if !found || !strings.HasSuffix(l, "\n") || json.Unmarshal([]byte(text), &r) != nil {
			continue
		}
		if r.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// seen gives when each token was seen first, and fails when a call failed.
func (w *world) seen(t *testing.T) map[string]time.Time {
	t.Helper()
	reports, err := w.lines()
	must.Succeed(t, err)
	seen := map[string]time.Time{}
	for _, r := range reports {
		if r.Error != "" {
			t.Fatalf("call %d of the pod failed: %s", r.Requests, r.Error)
		}
		if r.IssuedAt != "" {
			seen[r.IssuedAt] = r.Seen
		}
	}
	return seen
}

// figures prints what was measured, and checks that all calls were counted.
func (w *world) figures(t *testing.T) {
	seen := w.seen(t)
	reports, err := w.lines()
	must.Succeed(t, err)
	last := reports[len(reports)-1]
	rate := float64(last.Requests-reports[0].Requests) / last.At.Sub(reports[0].At).Seconds()
	delays := w.delays(seen)
	if len(delays) < rotations || last.Failures != 0 {
		t.Fatalf("%d delays were measured, with %d requests, %d failures", len(delays), last.Requests, last.Failures)
	}
	most := delays[len(delays)-1]
	if rate < leastRate || most > mostDelay {
		t.Errorf("there are to be %d requests a second, and files %s after the Secret at most", leastRate, mostDelay)
	}
	t.Logf(`
  rotations                              %d, of tokens that live %s
  requests                               %d, %.1f a second
  failures                               %d (%d retried after reading again)
  from the Secret's write to the file    %s half of the time, %s at most`,
		len(seen)-1, tokenLifetime, last.Requests, rate, last.Failures, last.Retries, round(delays[len(delays)/2]), round(most))
}

// delays are the times from a write of the Secret to the file, but for the token that the pod began with. The shortest comes
// first.
func (w *world) delays(seen map[string]time.Time) []time.Duration {
	var delays []time.Duration
	first := w.firstSeen(seen)
	for issued, written := range w.written() {
		if at, ok := seen[issued]; ok && at.After(first) {
			delays = append(delays, at.Sub(written))
		}
	}
	slices.Sort(delays)
	return delays
}

func (w *world) firstSeen(seen map[string]time.Time) time.Time {
	var first time.Time
	for _, at := range seen {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// reason is why an object is Ready, or is not.
func (w *world) reason(ctx context.Context, namespace, object string) (string, error) {
	return w.cluster.Kubectl(ctx, "-n", namespace, "get", object, "-o", fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].reason}`, v1alpha1.ConditionReady))
}

// podUID is the name of a pod's folder on the node.
func (w *world) podUID(t *testing.T, name string) string {
	t.Helper()
	return string(w.pod(t, name).UID)
}

func (w *world) pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	pod, err := w.clients.CoreV1().Pods("reports").Get(t.Context(), name, metav1.GetOptions{})
	must.Succeed(t, err)
	return pod
}

// operators are the pods of the operator that are to stay.
func (w *world) operators(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := w.clients.CoreV1().Pods("keycard-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=keycard-operator"})
	must.Succeed(t, err)
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// process is a process of a pod.
func (w *world) process(t *testing.T, uid types.UID, program string) int {
	t.Helper()
	pid, err := w.node.PodProcess(string(uid), program)
	must.Succeed(t, err)
	return pid
}

// leader is the pod that holds the Lease.
func (w *world) leader(t *testing.T) string {
	t.Helper()
	name, err := w.holder(t.Context())
	must.Succeed(t, err)
	return name
}

func (w *world) holder(ctx context.Context) (string, error) {
	out, err := w.cluster.Kubectl(ctx, "-n", "keycard-system", "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
	name, _, _ := strings.Cut(out, "_")
	return name, err
}

// kubectl has to succeed.
func (w *world) kubectl(t *testing.T, args ...string) {
	t.Helper()
	_, err := w.cluster.Kubectl(t.Context(), args...)
	must.Succeed(t, err)
}
