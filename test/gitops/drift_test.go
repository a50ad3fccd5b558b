// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// rotations is how often each token is exchanged for a next one while the test looks.
const rotations = 3

// appliers are the ways to apply, by the namespace that each is tried in.
var appliers = map[string]struct {
	manager string
	flags   []string
}{
	"client-side": {"kubectl-client-side-apply", nil},
	"server-side": {"argocd-controller", []string{"--server-side", "--field-manager=argocd-controller"}},
}

// manifests are what a user keeps in Git, but for the Secrets.
const manifests = `apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {name: confluence, namespace: NAMESPACE}
spec:
  zone: {id: %q, issuer: %q, apiURL: %q, serviceAccountSecretRef: {name: service-account}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: oauth-app}
  deletionPolicy: Delete
---
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {name: reports, namespace: NAMESPACE}
spec:
  resourceRef: {name: confluence}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  secret: {name: reports-token}
`

// Rotations change nothing that a GitOps tool compares, no status on the way looks unhealthy, and applying all the time
// causes no exchange.
func TestNoDrift(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	cluster, err := testenv.Start(testenv.Options{CRDs: true})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, cluster.Stop()) })
	patchArgoCD(t, cluster)
	for ns, applier := range appliers {
		t.Run(ns, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, cluster, ns)
			w.manager, w.flags = applier.manager, applier.flags
			stop := w.startOperator()
			w.apply()
			w.watch()
			stop() // what is under way is finished
			w.judge(w.get("KeycardResource", "confluence"))
			w.judge(w.get("ConfluenceTokenBinding", "reports"))
			if len(w.healthy) != 2 {
				t.Errorf("healthy were %v only", w.healthy)
			}
			w.expectSchedule()
			w.expectNoDrift("KeycardResource", "confluence")
			w.expectNoDrift("ConfluenceTokenBinding", "reports")
			t.Logf("%d tokens, %d exchanges, %d applies, %d versions of the objects", len(w.issued), w.exchanges.Load(), w.applies, w.versions)
		})
	}
}

// patchArgoCD runs the document's command on a ConfigMap that has something in it already.
func patchArgoCD(t *testing.T, cluster *testenv.ControlPlane) {
	t.Helper()
	for _, command := range []string{
		"create namespace argocd",
		"-n argocd create configmap argocd-cm --from-literal=url=https://argocd.example.com",
		"-n argocd patch configmap argocd-cm --patch-file " + argocd + "argocd-cm.yaml",
	} {
		_, err := cluster.Kubectl(t.Context(), strings.Fields(command)...)
		must.Succeed(t, err)
	}
	keys, err := cluster.Kubectl(t.Context(), "-n", "argocd", "get", "configmap", "argocd-cm", "-o", `go-template={{range $k, $v := .data}}{{$k}} {{end}}`)
	must.Succeed(t, err)
	if got := len(strings.Fields(keys)); got != 4 {
		t.Errorf("Argo CD's ConfigMap has the keys %s", keys)
	}
}

// world is a namespace, and a zone with short tokens.
type world struct {
	t         *testing.T
	cluster   *testenv.ControlPlane
	zone      *devzone.Running
	client    client.WithWatch
	ns, file  string
	manager   string
	flags     []string
	exchanges atomic.Int32
	// applies and versions count how often the file was applied, and what was judged of the objects.
	applies, versions int
	// healthy is which objects have been so, by kind; issued is when the binding's tokens were issued.
	healthy, issued map[string]bool
}

func newWorld(t *testing.T, cluster *testenv.ControlPlane, ns string) *world {
	t.Helper()
	w := &world{t: t, cluster: cluster, ns: ns, file: filepath.Join(t.TempDir(), "manifests.yaml"), healthy: map[string]bool{}, issued: map[string]bool{}}
	var err error
	w.zone, err = devzone.Start(context.WithoutCancel(t.Context()), devzone.Config{
		Clock: time.Now, UpstreamTokenLifetime: 30 * time.Second, ZoneMiddleware: w.count,
	})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, w.zone.Close()) })
	scheme := runtime.NewScheme()
	must.Succeed(t, clientgoscheme.AddToScheme(scheme))
	must.Succeed(t, v1alpha1.AddToScheme(scheme))
	w.client, err = client.NewWithWatch(cluster.Config, client.Options{Scheme: scheme})
	must.Succeed(t, err)
	w.kubectl("create", "namespace", ns)
	for name, login := range map[string][2]string{
		"service-account": {"operator", "dev-only-operator-secret"}, "oauth-app": {"atlassian-app", "dev-only-atlassian-secret"},
		"reports-app": {"reports", "dev-only-reports-password"},
	} {
		w.kubectl("-n", ns, "create", "secret", "generic", name,
			"--from-literal="+v1alpha1.ClientIDKey+"="+login[0], "--from-literal="+v1alpha1.ClientSecretKey+"="+login[1])
	}
	text := strings.ReplaceAll(fmt.Sprintf(manifests, w.zone.ZoneID, w.zone.Issuer, w.zone.APIURL), "NAMESPACE", ns)
	must.Succeed(t, os.WriteFile(w.file, []byte(text), 0o600))
	return w
}

func (w *world) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/oauth/2/token" {
			w.exchanges.Add(1)
		}
		next.ServeHTTP(rw, r)
	})
}

func (w *world) startOperator() (stop func()) {
	w.t.Helper()
	mgr, err := ctrl.NewManager(w.cluster.Config, ctrl.Options{
		Scheme: w.client.Scheme(), Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: controllers.CacheOptions([]string{w.ns}), Controller: config.Controller{SkipNameValidation: new(true)},
	})
	must.Succeed(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	w.t.Cleanup(cancel)
	must.Succeed(w.t, controllers.Setup(ctx, mgr, controllers.Options{
		Concurrency: 10, Namespaces: []string{w.ns}, Cluster: controllers.Cluster{ID: "test-cluster"}, UserAgent: "test", RequestTimeout: 10 * time.Second,
		AllowInsecureLoopback: true, AtlassianURL: w.zone.AtlassianURL, Metrics: prometheus.NewRegistry(),
		CheckEvery: 10 * time.Second, // so that looks at the zone are among what is judged
	}))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		cancel()
		must.Succeed(w.t, <-done)
	}
}

func (w *world) kubectl(args ...string) {
	w.t.Helper()
	_, err := w.cluster.Kubectl(w.t.Context(), args...)
	must.Succeed(w.t, err)
}

func (w *world) apply() {
	w.t.Helper()
	w.applies++
	w.kubectl(append([]string{"apply", "-f", w.file}, w.flags...)...)
}

// versionsOf follows the objects of a kind.
func (w *world) versionsOf(kind string) watch.Interface {
	w.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	changes, err := w.client.Watch(w.t.Context(), list, client.InNamespace(w.ns))
	must.Succeed(w.t, err)
	return changes
}

// watch judges every version of the objects until there were enough rotations, and applies all the time.
func (w *world) watch() {
	w.t.Helper()
	bindings, installs := w.versionsOf("ConfluenceTokenBinding"), w.versionsOf("KeycardResource")
	defer bindings.Stop()
	defer installs.Stop()
	look := func(change watch.Event, open bool) {
		if !open || change.Type == watch.Error {
			w.t.Fatalf("the watch ended: %v", change.Object)
		}
		w.judge(change.Object.(*unstructured.Unstructured))
	}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	tooLate := time.After(5 * time.Minute)
	for len(w.issued) <= rotations {
		select {
		case change, open := <-bindings.ResultChan():
			look(change, open)
		case change, open := <-installs.ResultChan():
			look(change, open)
		case <-again.C:
			w.apply()
		case <-tooLate:
			w.t.Fatalf("tokens were issued at %v only", w.issued)
		}
	}
}

// judge looks at a version of an object as Argo CD and kstatus do.
func (w *world) judge(obj *unstructured.Unstructured) {
	w.t.Helper()
	w.versions++
	health, message := healthOf(w.t, obj)
	result, err := status.Compute(obj)
	must.Succeed(w.t, err)
	if health == "Healthy" && result.Status == status.CurrentStatus {
		w.healthy[obj.GetKind()] = true
	} else if w.healthy[obj.GetKind()] {
		w.t.Errorf("%s was healthy and is %s (%s), %s (%s)", obj.GetKind(), health, message, result.Status, result.Message)
	}
	at, found, err := unstructured.NestedString(obj.Object, "status", "issuedAt")
	must.Succeed(w.t, err)
	if found {
		w.issued[at] = true
	}
}

func (w *world) get(kind, name string) *unstructured.Unstructured {
	w.t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	must.Succeed(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, obj))
	return obj
}

// expectSchedule checks that each token took one exchange, and none came before its time.
func (w *world) expectSchedule() {
	w.t.Helper()
	if n := int(w.exchanges.Load()); n != len(w.issued) {
		w.t.Errorf("%d exchanges for %d tokens", n, len(w.issued))
	}
	var last time.Time
	for _, s := range slices.Sorted(maps.Keys(w.issued)) {
		at, err := time.Parse(time.RFC3339, s)
		must.Succeed(w.t, err)
		if at.Sub(last) < refresh.MinInterval {
			w.t.Errorf("a token was issued %s after the one before", at.Sub(last))
		}
		last = at
	}
}

// expectNoDrift checks that nothing but status and finalizers is ours, and that the applied file is what there is.
func (w *world) expectNoDrift(kind, name string) {
	w.t.Helper()
	w.kubectl(append([]string{"diff", "-f", w.file}, w.flags...)...)
	obj := w.get(kind, name)
	if obj.GetGeneration() != 1 {
		w.t.Errorf("%s has generation %d", kind, obj.GetGeneration())
	}
	ours := 0
	for _, e := range obj.GetManagedFields() {
		if e.Manager == w.manager {
			continue
		}
		ours++
		if e.Subresource != "status" && !onlyFinalizers(w.t, e) {
			w.t.Errorf("%s: %s owns %s", kind, e.Manager, e.FieldsV1)
		}
	}
	if ours == 0 {
		w.t.Errorf("nobody wrote the status of %s", kind)
	}
}

func onlyFinalizers(t *testing.T, e metav1.ManagedFieldsEntry) bool {
	t.Helper()
	fields := map[string]map[string]any{}
	must.Succeed(t, json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields))
	return len(fields) == 1 && len(fields["f:metadata"]) == 1 && fields["f:metadata"]["f:finalizers"] != nil
}
