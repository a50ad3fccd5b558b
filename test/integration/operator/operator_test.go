// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
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

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

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
	w := world.New(t, world.RealTime)
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	first := w.StartOperator()
	w.UntilReady(resource)
	for i := range bindings {
		must.Succeed(t, w.K8s.Create(w.Ctx, w.Binding(fmt.Sprintf("reports-%02d", i))))
	}
	var list v1alpha1.ConfluenceTokenBindingList
	w.Eventually("all bindings are Ready", func(ctx context.Context) (bool, error) {
		if err := w.K8s.List(ctx, &list, client.InNamespace(w.NS)); err != nil {
			return false, err
		}
		for i := range list.Items {
			if !meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.ConditionReady) {
				return false, nil
			}
		}
		return true, nil
	})
	first.Stop()
	if n := w.Requests.Count(world.Exchanges); n != bindings {
		t.Errorf("%d first tokens took %d exchanges", bindings, n)
	}
	if n := len(clusterWrites(first.Writes.Take())); n != 3*bindings+2 {
		// Of each binding: a first status, the Secret, the status. Of the install: a first status and the status.
		t.Errorf("%d bindings and an install took %d writes, want %d", bindings, n, 3*bindings+2)
	}

	w.Requests.Take()
	before := w.Reconciles()
	second := w.StartOperator()
	w.Eventually("every binding was reconciled again", func(context.Context) (bool, error) {
		return w.Reconciles() >= before+bindings, nil
	})
	second.Stop()
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("the restart made %d exchanges", n)
	}
	if writes := clusterWrites(second.Writes.Take()); len(writes) != 0 {
		t.Errorf("the restart wrote %d times: %v", len(writes), writes)
	}
	w.NoCanaries()
}

// Whatever is created last, the watches bring the rest about: the binding before the install, the
// install before its Secret, a Secret that is deleted.
func TestWatchesConverge(t *testing.T) {
	w := world.New(t, world.RealTime)
	world.DeleteSecret("oauth-app")(w)
	w.StartOperator()
	binding, resource := w.Binding("reports"), w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.Eventually("the binding misses the install", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		c := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == v1alpha1.ReasonResourceNotFound, err
	})
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.Eventually("the install shows the redirect URI", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(resource), resource)
		return resource.Status.RedirectURI != "", err
	})
	start := time.Now()
	w.Secret("oauth-app", "atlassian-app", world.AtlassianSecret)
	w.UntilReady(resource)
	w.UntilReady(binding)
	t.Logf("Ready %s after the Secret was created", time.Since(start).Round(time.Millisecond))

	secret := w.Output(binding)
	must.Succeed(t, w.K8s.Delete(w.Ctx, secret))
	w.Eventually("the Secret is back", func(ctx context.Context) (bool, error) {
		var again corev1.Secret
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(secret), &again)
		return err == nil && again.UID != secret.UID, client.IgnoreNotFound(err)
	})
	// The last apply may have come before its status.
	w.UntilReady(binding)
	w.Pages(w.Output(binding))
}

// A deletion that the whole operator sees takes the objects out of the zone, and the Secret goes with its
// binding.
func TestDeletionWithWatches(t *testing.T) {
	w := world.New(t, world.RealTime)
	w.StartOperator()
	resource, binding := w.Install(), w.Binding("reports")
	resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.UntilReady(binding)
	secret := w.Output(binding)
	for _, o := range []client.Object{binding, resource} {
		must.Succeed(t, w.K8s.Delete(w.Ctx, o))
	}
	for _, o := range []client.Object{resource, binding, secret} {
		w.Eventually(fmt.Sprintf("%T is gone", o), func(ctx context.Context) (bool, error) {
			err := w.K8s.Get(ctx, client.ObjectKeyFromObject(o), o)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	}
	if p, r := w.Objects(); p != 0 || r != 0 {
		t.Errorf("the zone still has %d providers and %d resources", p, r)
	}
}

// Rotations of a short token, with the real clock and caches: no token is exchanged for twice, and each
// rotation is two writes.
func TestRotationsWithCaches(t *testing.T) {
	w := world.New(t, world.RealTime, func(c *devzone.Config) { c.UpstreamTokenLifetime = 30 * time.Second })
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	o := w.StartOperator()
	w.UntilReady(binding)
	w.Requests.Take()
	o.Writes.Take()
	const rotations = 2
	for range rotations {
		before := string(w.Output(binding).Data["token"])
		w.Eventually("the token is rotated", func(ctx context.Context) (bool, error) {
			var s corev1.Secret
			err := w.K8s.Get(ctx, client.ObjectKey{Namespace: w.NS, Name: "reports-token"}, &s)
			return err == nil && string(s.Data["token"]) != before, err
		})
	}
	issued := binding.Status.IssuedAt.Time
	w.Eventually("the status follows", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		return binding.Status.IssuedAt.Sub(issued) >= rotations*15*time.Second, err
	})
	o.Stop()
	if n := w.Requests.Count(world.Exchanges); n != rotations {
		t.Errorf("%d rotations took %d exchanges", rotations, n)
	}
	if writes := clusterWrites(o.Writes.Take()); len(writes) != 2*rotations {
		t.Errorf("%d rotations took %d writes: %v", rotations, len(writes), writes)
	}
	w.NoCanaries()
}

// A write in flight is finished when the operator is told to stop: the token it carries is not lost.
func TestStopFinishesTheWrite(t *testing.T) {
	w := world.New(t, world.RealTime)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.ReconcileResource(resource)
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	ctx, cancel := context.WithCancel(w.Ctx)
	undo := w.Requests.Answer("accessible-resources", func(rw http.ResponseWriter, _ *http.Request) {
		world.WriteJSON(rw, `[{"id":"1","url":"`+world.Site+`","scopes":["search:confluence"]}]`)
	})
	defer undo()
	// The stop arrives when the exchange is done and the Secret is about to be written.
	cfg := rest.CopyConfig(world.Cluster.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return world.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/secrets/") {
				cancel()
			}
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(cfg, client.Options{Scheme: world.Scheme(t)})
	must.Succeed(t, err)
	w.Cached.Client = c
	_, err = w.Bindings.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
	must.Succeed(t, err)
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(binding), binding))
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if len(w.Output(binding).Data["token"]) == 0 {
		t.Error("the token was not written")
	}
}

// A kill between a create at the zone and the write of the status, of the real program: the next process
// ends with one provider and one resource.
func TestKillBetweenCreateAndStatus(t *testing.T) {
	binary := buildOperator(t, "test")
	for _, kind := range []string{"providers", "resources"} {
		t.Run(kind, func(t *testing.T) {
			w := world.New(t)
			created, release := make(chan struct{}), make(chan struct{})
			t.Cleanup(sync.OnceFunc(func() { close(release) }))
			// Creates go through; the answer to the first of this kind is held back until the kill.
			creates := holdAnswers(w, "/"+kind, created, release)
			resource := w.Install()
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))

			first := startProcess(w, binary)
			select {
			case <-created:
			case <-time.After(world.Patience):
				t.Fatal("nothing was created")
			}
			must.Succeed(t, first.Process.Signal(syscall.SIGKILL))
			_ = first.Wait() // killed
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource))
			if resource.Status.ResourceID != "" {
				t.Fatal("the status was written before the kill")
			}
			second := startProcess(w, binary)
			w.UntilReady(resource)
			must.Succeed(t, second.Process.Signal(syscall.SIGTERM))
			if err := second.Wait(); err != nil {
				t.Errorf("the operator ended with %v", err)
			}
			if p, r := w.Objects(); p != 1 || r != 1 {
				t.Errorf("the zone has %d providers and %d resources", p, r)
			}
			if n := creates(); n != 2 {
				t.Errorf("%d creates were made, want one provider and one resource", n)
			}
			w.NoCanaries()
		})
	}
}

// buildOperator builds the program with a version, by which it names itself to servers.
func buildOperator(t *testing.T, version string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "operator")
	var out strings.Builder
	if err := program.Go(t.Context(), &out, "-C", "../../..", "build", "-ldflags", "-X main.version="+version, "-o", binary, "./cmd/operator"); err != nil {
		t.Fatalf("building the operator: %v: %s", err, &out)
	}
	return binary
}

// holdAnswers lets creates through, and holds back the first answer to one at path until release.
func holdAnswers(w *world.World, path string, created chan<- struct{}, release <-chan struct{}) (creates func() int) {
	var once sync.Once
	w.Requests.Mu.Lock()
	defer w.Requests.Mu.Unlock()
	w.Requests.After = func(what string) {
		if strings.HasPrefix(what, "api POST") && strings.HasSuffix(what, path) {
			once.Do(func() {
				close(created)
				<-release
			})
		}
	}
	return func() int { return w.Requests.Count("api POST /zones/") }
}

// startProcess runs the operator's program for the world's namespace.
func startProcess(w *world.World, binary string) *exec.Cmd {
	w.T.Helper()
	kubeconfig, err := world.Cluster.WriteKubeconfig("admin", world.Cluster.Config)
	must.Succeed(w.T, err)
	return startProgram(w, binary, kubeconfig, "0")
}

// startProgram runs it with a kubeconfig, and its probes at an address.
func startProgram(w *world.World, binary, kubeconfig, probes string) *exec.Cmd {
	w.T.Helper()
	cmd := exec.Command(binary, "--kubeconfig", kubeconfig, "--leader-elect=false", "--watch-namespaces="+w.NS,
		"--metrics-bind-address=0", "--health-probe-bind-address="+probes, "--allow-insecure-loopback",
		"--cluster-id="+world.ClusterID, "--atlassian-url="+w.Zone.AtlassianURL, "-v=4")
	cmd.Stdout, cmd.Stderr = w.Logs, w.Logs
	must.Succeed(w.T, cmd.Start())
	w.T.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
	return cmd
}
