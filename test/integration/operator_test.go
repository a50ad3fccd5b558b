// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// patience is how long the whole operator may take for anything in these tests.
const patience = 60 * time.Second

// operator is the whole operator in this process, with caches and watches.
type operator struct {
	w    *world
	stop func()
	// writes counts what it wrote to the cluster.
	writes *recorder
	// metrics are those of its objects.
	metrics *prometheus.Registry
}

// startOperator runs the controllers for the world's namespace. The zone's clock has to be the operator's: the real one,
// unless change says otherwise.
func (w *world) startOperator(change ...func(*controllers.Options)) *operator {
	w.t.Helper()
	o := &operator{w: w, writes: &recorder{}, metrics: prometheus.NewRegistry()}
	cfg := rest.CopyConfig(cmp.Or(w.account, cluster.Config))
	cfg.Wrap(o.writes.transport)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme(w.t), Logger: w.logger(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:      controllers.CacheOptions([]string{w.ns}),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	options := controllers.Options{
		Concurrency: 10, Namespaces: []string{w.ns}, ClusterID: clusterID, UserAgent: "test", RequestTimeout: 10 * time.Second,
		AllowInsecureLoopback: true, AtlassianURL: w.zone.AtlassianURL,
		Metrics: o.metrics, PerObjectMetrics: true,
	}
	for _, c := range change {
		c(&options)
	}
	must(w.t, controllers.Setup(ctx, mgr, options))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		must(w.t, <-done)
	})
	w.t.Cleanup(o.stop)
	return o
}

// realTime makes the zone go by the real clock, which the whole operator does.
func realTime(c *devzone.Config) { c.Clock = time.Now }

// eventually polls until check is true.
func (w *world) eventually(what string, check func(ctx context.Context) (bool, error)) {
	w.t.Helper()
	if err := wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, patience, true, check); err != nil {
		w.t.Fatalf("waiting until %s: %v", what, err)
	}
}

// untilReady waits for an object to be Ready, and leaves it as it is then.
func (w *world) untilReady(o client.Object) {
	w.t.Helper()
	key := client.ObjectKeyFromObject(o)
	w.eventually(fmt.Sprintf("%T %s is Ready", o, key), func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, key, o)
		return err == nil && meta.IsStatusConditionTrue(conditionsOf(o), v1alpha1.ConditionReady), err
	})
}

// reconciles is how often the bindings' controller ran, in this process.
func reconciles(t *testing.T) (n float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "controller" && l.GetValue() == "confluencetokenbinding" {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// clusterWrites picks what was written about our objects: not Events, not Leases.
func clusterWrites(seen []string) (writes []string) {
	for _, s := range seen {
		if strings.Contains(s, "/secrets/") || strings.Contains(s, "keycard.cloud") {
			writes = append(writes, s)
		}
	}
	return writes
}

// A restart over fifty healthy tokens costs nothing: no exchange, no write.
func TestRestartCostsNothing(t *testing.T) {
	const bindings = 50
	w := newWorld(t, realTime)
	resource := w.install()
	must(t, w.k8s.Create(w.ctx, resource))
	first := w.startOperator()
	w.untilReady(resource)
	for i := range bindings {
		must(t, w.k8s.Create(w.ctx, w.binding(fmt.Sprintf("reports-%02d", i))))
	}
	var list v1alpha1.ConfluenceTokenBindingList
	w.eventually("all bindings are Ready", func(ctx context.Context) (bool, error) {
		if err := w.k8s.List(ctx, &list, client.InNamespace(w.ns)); err != nil {
			return false, err
		}
		for i := range list.Items {
			if !meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.ConditionReady) {
				return false, nil
			}
		}
		return true, nil
	})
	first.stop()
	if n := w.requests.count(exchanges); n != bindings {
		t.Errorf("%d first tokens took %d exchanges", bindings, n)
	}
	if n := len(clusterWrites(first.writes.take())); n != 3*bindings+2 {
		// Of each binding: a first status, the Secret, the status. Of the install: a first status and the status.
		t.Errorf("%d bindings and an install took %d writes, want %d", bindings, n, 3*bindings+2)
	}

	w.requests.take()
	before := reconciles(t)
	second := w.startOperator()
	w.eventually("every binding was reconciled again", func(context.Context) (bool, error) {
		return reconciles(t) >= before+bindings, nil
	})
	second.stop()
	if n := w.requests.count(exchanges); n != 0 {
		t.Errorf("the restart made %d exchanges", n)
	}
	if writes := clusterWrites(second.writes.take()); len(writes) != 0 {
		t.Errorf("the restart wrote %d times: %v", len(writes), writes)
	}
	w.noCanaries()
}

// Whatever is created last, the watches bring the rest about: the binding before the install, the
// install before its Secret, a Secret that is deleted.
func TestWatchesConverge(t *testing.T) {
	w := newWorld(t, realTime)
	deleteSecret("oauth-app")(w)
	w.startOperator()
	binding, resource := w.binding("reports"), w.install()
	must(t, w.k8s.Create(w.ctx, binding))
	w.eventually("the binding misses the install", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		c := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == v1alpha1.ReasonResourceNotFound, err
	})
	must(t, w.k8s.Create(w.ctx, resource))
	w.eventually("the install shows the redirect URI", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(resource), resource)
		return resource.Status.RedirectURI != "", err
	})
	start := time.Now()
	w.secret("oauth-app", "atlassian-app", atlassianSecret)
	w.untilReady(resource)
	w.untilReady(binding)
	t.Logf("Ready %s after the Secret was created", time.Since(start).Round(time.Millisecond))

	secret := w.output(binding)
	must(t, w.k8s.Delete(w.ctx, secret))
	w.eventually("the Secret is back", func(ctx context.Context) (bool, error) {
		var again corev1.Secret
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(secret), &again)
		return err == nil && again.UID != secret.UID, client.IgnoreNotFound(err)
	})
	// The last apply may have come before its status.
	w.untilReady(binding)
	w.pages(w.output(binding))
}

// A deletion that the whole operator sees takes the objects out of the zone, and the Secret goes with its
// binding.
func TestDeletionWithWatches(t *testing.T) {
	w := newWorld(t, realTime)
	w.startOperator()
	resource, binding := w.install(), w.binding("reports")
	resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.untilReady(binding)
	secret := w.output(binding)
	for _, o := range []client.Object{binding, resource} {
		must(t, w.k8s.Delete(w.ctx, o))
	}
	for _, o := range []client.Object{resource, binding, secret} {
		w.eventually(fmt.Sprintf("%T is gone", o), func(ctx context.Context) (bool, error) {
			err := w.k8s.Get(ctx, client.ObjectKeyFromObject(o), o)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	}
	if p, r := w.objects(); p != 0 || r != 0 {
		t.Errorf("the zone still has %d providers and %d resources", p, r)
	}
}

// Rotations of a short token, with the real clock and caches: no token is exchanged for twice, and each
// rotation is two writes.
func TestRotationsWithCaches(t *testing.T) {
	w := newWorld(t, realTime, func(c *devzone.Config) { c.UpstreamTokenLifetime = 30 * time.Second })
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	o := w.startOperator()
	w.untilReady(binding)
	w.requests.take()
	o.writes.take()
	const rotations = 2
	for range rotations {
		before := string(w.output(binding).Data["token"])
		w.eventually("the token is rotated", func(ctx context.Context) (bool, error) {
			var s corev1.Secret
			err := w.k8s.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: "reports-token"}, &s)
			return err == nil && string(s.Data["token"]) != before, err
		})
	}
	issued := binding.Status.IssuedAt.Time
	w.eventually("the status follows", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		return binding.Status.IssuedAt.Sub(issued) >= rotations*15*time.Second, err
	})
	o.stop()
	if n := w.requests.count(exchanges); n != rotations {
		t.Errorf("%d rotations took %d exchanges", rotations, n)
	}
	if writes := clusterWrites(o.writes.take()); len(writes) != 2*rotations {
		t.Errorf("%d rotations took %d writes: %v", rotations, len(writes), writes)
	}
	w.noCanaries()
}

// A write in flight is finished when the operator is told to stop: the token it carries is not lost.
func TestStopFinishesTheWrite(t *testing.T) {
	w := newWorld(t, realTime)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	w.reconcileResource(resource)
	must(t, w.k8s.Create(w.ctx, binding))
	ctx, cancel := context.WithCancel(w.ctx)
	undo := w.requests.answer("accessible-resources", func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, `[{"id":"1","url":"`+site+`","scopes":["search:confluence"]}]`)
	})
	defer undo()
	// The stop arrives when the exchange is done and the Secret is about to be written.
	cfg := rest.CopyConfig(cluster.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/secrets/") {
				cancel()
			}
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(cfg, client.Options{Scheme: scheme(t)})
	must(t, err)
	w.bindings.Client = c
	_, err = w.bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
	must(t, err)
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(binding), binding))
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if len(w.output(binding).Data["token"]) == 0 {
		t.Error("the token was not written")
	}
}

// A kill between a create at the zone and the write of the status, of the real program: the next process
// ends with one provider and one resource.
func TestKillBetweenCreateAndStatus(t *testing.T) {
	binary := buildOperator(t, "test")
	for _, kind := range []string{"providers", "resources"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			created, release := make(chan struct{}), make(chan struct{})
			t.Cleanup(sync.OnceFunc(func() { close(release) }))
			// Creates go through; the answer to the first of this kind is held back until the kill.
			creates := w.holdAnswers("/"+kind, created, release)
			resource := w.install()
			must(t, w.k8s.Create(w.ctx, resource))

			first := w.startProcess(binary)
			select {
			case <-created:
			case <-time.After(patience):
				t.Fatal("nothing was created")
			}
			must(t, first.Process.Signal(syscall.SIGKILL))
			_ = first.Wait() // killed
			must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(resource), resource))
			if resource.Status.ResourceID != "" {
				t.Fatal("the status was written before the kill")
			}
			second := w.startProcess(binary)
			w.untilReady(resource)
			must(t, second.Process.Signal(syscall.SIGTERM))
			if err := second.Wait(); err != nil {
				t.Errorf("the operator ended with %v", err)
			}
			if p, r := w.objects(); p != 1 || r != 1 {
				t.Errorf("the zone has %d providers and %d resources", p, r)
			}
			if n := creates(); n != 2 {
				t.Errorf("%d creates were made, want one provider and one resource", n)
			}
			w.noCanaries()
		})
	}
}

// buildOperator builds the program with a version, by which it names itself to servers.
func buildOperator(t *testing.T, version string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "operator")
	var out strings.Builder
	if err := program.Go(t.Context(), &out, "-C", "../..", "build", "-ldflags", "-X main.version="+version, "-o", binary, "./cmd/operator"); err != nil {
		t.Fatalf("building the operator: %v: %s", err, &out)
	}
	return binary
}

// holdAnswers lets creates through, and holds back the first answer to one at path until release.
func (w *world) holdAnswers(path string, created chan<- struct{}, release <-chan struct{}) (creates func() int) {
	var once sync.Once
	w.requests.mu.Lock()
	defer w.requests.mu.Unlock()
	w.requests.after = func(what string) {
		if strings.HasPrefix(what, "api POST") && strings.HasSuffix(what, path) {
			once.Do(func() {
				close(created)
				<-release
			})
		}
	}
	return func() int { return w.requests.count("api POST /zones/") }
}

// startProcess runs the operator's program for the world's namespace.
func (w *world) startProcess(binary string) *exec.Cmd {
	w.t.Helper()
	kubeconfig, err := cluster.WriteKubeconfig("admin", cluster.Config)
	must(w.t, err)
	return w.startProgram(binary, kubeconfig, "0")
}

// startProgram runs it with a kubeconfig, and its probes at an address.
func (w *world) startProgram(binary, kubeconfig, probes string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(binary, "--kubeconfig", kubeconfig, "--leader-elect=false", "--watch-namespaces="+w.ns,
		"--metrics-bind-address=0", "--health-probe-bind-address="+probes, "--allow-insecure-loopback",
		"--cluster-id="+clusterID, "--atlassian-url="+w.zone.AtlassianURL, "-v=4")
	cmd.Stdout, cmd.Stderr = w.logs, w.logs
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
	return cmd
}
