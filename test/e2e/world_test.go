// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e tests the operator as it is shipped, on a real node: `make e2e`.
package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/localtls"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

const root = "../.."

const (
	// tokenLifetime leaves a token half of its life when the next one is asked for, which is enough for a control plane that
	// starts, then for a new leader, and then for kubelet, see kubelet.yaml.
	tokenLifetime = 2 * time.Minute
	// patience is for machines that do other things too.
	patience = 3 * time.Minute
)

//go:embed manifests
var manifests embed.FS

// TestMain builds what goes into images, for which the go command may need a network, and runs the tests in one of their
// own. Where they can't be run, each says so.
func TestMain(m *testing.M) {
	if testenv.CheckContainers() != nil {
		os.Exit(m.Run())
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var programs string
	defer func() { _ = os.RemoveAll(programs) }()
	return testenv.InOwnNetwork(func() (err error) {
		programs, err = buildPrograms()
		return err
	}, m.Run)
}

// world is a cluster with a node, a zone, and the operator.
type world struct {
	cluster *testenv.ControlPlane
	clients kubernetes.Interface
	// objects reads those of the operator too.
	objects client.Client
	node    *testenv.Node
	zone    *devzone.Running
	// dir has the manifests, and the zone's authority.
	dir string

	mu sync.Mutex
	// writes are the times at which tokens were seen in the Secret, by the time of their issue.
	writes map[string]time.Time
}

// requireContainers makes CI fail where pods can't run, and tells others what was left out.
func requireContainers(t *testing.T) {
	t.Helper()
	if err := testenv.CheckContainers(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI runs this test: ", err)
		}
		t.Skip("NOT TESTED, pods on a real node: ", err)
	}
}

// newWorld starts all of it.
func newWorld(t *testing.T) *world {
	t.Helper()
	requireContainers(t)
	ctrl.SetLogger(logr.Discard())
	w := &world{dir: t.TempDir(), writes: map[string]time.Time{}}
	authority, err := localtls.Open(w.tlsDir(), nil, time.Now())
	must.Succeed(t, err)
	w.startCluster(t, imageArchives(t, authority.PEM()))
	w.startZone(t)
	w.watchSecret(t)
	w.installOperator(t)
	return w
}

func (w *world) tlsDir() string { return filepath.Join(w.dir, "tls") }

// startZone starts a zone and the stand-in for Atlassian where pods reach them, at the port that is theirs in real life:
// the shipped NetworkPolicy lets the operator reach that one.
func (w *world) startZone(t *testing.T) {
	t.Helper()
	const https = 443
	cluster, err := x509.SystemCertPool()
	must.Succeed(t, err)
	cluster.AppendCertsFromPEM(w.cluster.Config.CAData)
	zone, err := devzone.Start(context.WithoutCancel(t.Context()), devzone.Config{
		UpstreamTokenLifetime: tokenLifetime, UpstreamCAs: cluster,
		ZoneAddress: testenv.ZoneAddress.Port(https), APIAddress: testenv.APIAddress.Port(https), AtlassianAddress: testenv.AtlassianAddress.Port(https),
		TLSDir: w.tlsDir(), TLSNames: []string{string(testenv.ZoneAddress), string(testenv.APIAddress), string(testenv.AtlassianAddress)},
	})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, zone.Close()) })
	w.zone = zone
}

// startCluster starts the control plane and the node. A signal stops them too.
func (w *world) startCluster(t *testing.T, archives []string) {
	t.Helper()
	cluster, err := testenv.Start(testenv.Options{Pods: true, Log: w.dir})
	must.Succeed(t, err)
	w.cluster = cluster
	stop := sync.OnceValue(cluster.Stop)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; ok {
			fmt.Fprintln(os.Stderr, "interrupted; stopping:", stop())
			os.Exit(1)
		}
	}()
	t.Cleanup(func() {
		signal.Stop(signals)
		close(signals)
		if t.Failed() {
			w.explain(t)
		}
		must.Succeed(t, stop())
	})
	w.clients = kubernetes.NewForConfigOrDie(cluster.Config)
	scheme := runtime.NewScheme()
	must.Succeed(t, v1alpha1.AddToScheme(scheme))
	w.objects, err = client.New(cluster.Config, client.Options{Scheme: scheme})
	must.Succeed(t, err)
	w.node, err = cluster.StartNode(t.Context(), archives...)
	must.Succeed(t, err)
}

// installOperator applies dist/install.yaml and waits for the Deployment.
func (w *world) installOperator(t *testing.T) {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join(root, "dist", "install.yaml"))
	if err != nil {
		t.Fatal("`make e2e` builds it: ", err)
	}
	must.Succeed(t, os.WriteFile(filepath.Join(w.dir, "install.yaml"), shipped, 0o600))
	must.Succeed(t, os.WriteFile(filepath.Join(w.dir, "kustomization.yaml"), w.render(t, "kustomization"), 0o600))
	w.kubectl(t, "apply", "--server-side", "-k", w.dir)
	must.Succeed(t, program.AwaitKinds(t.Context(), w.cluster))
	w.kubectl(t, "-n", "keycard-system", "rollout", "status", "deployment/keycard-operator", "--timeout="+patience.String())
}

// render fills a manifest in.
func (w *world) render(t *testing.T, name string) []byte {
	t.Helper()
	text, err := fs.ReadFile(manifests, "manifests/"+name+".yaml.tmpl")
	must.Succeed(t, err)
	kubeSystem, err := w.clients.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	must.Succeed(t, err)
	var out bytes.Buffer
	must.Succeed(t, template.Must(template.New(name).Parse(string(text))).Execute(&out, map[string]any{
		"Zone": w.zone, "ZoneCA": w.zoneCA(), "APIServer": strings.TrimSuffix(w.cluster.Config.Host, "/"), "ClusterID": kubeSystem.UID,
	}))
	return out.Bytes()
}

func (w *world) zoneCA() string {
	if w.zone == nil {
		return ""
	}
	return string(w.zone.CA)
}

// apply applies manifests in their order.
func (w *world) apply(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(w.dir, name+"-filled.yaml")
		must.Succeed(t, os.WriteFile(path, w.render(t, name), 0o600))
		w.kubectl(t, "apply", "-f", path)
	}
}

// watchSecret notes when a token appears in the Secret that the pod mounts.
func (w *world) watchSecret(t *testing.T) {
	t.Helper()
	factory := informers.NewSharedInformerFactoryWithOptions(w.clients, 0, informers.WithNamespace("reports"))
	informer := factory.Core().V1().Secrets().Informer()
	note := func(object any) {
		secret, ok := object.(*corev1.Secret)
		var token struct {
			IssuedAt string `json:"issued_at"`
		}
		if !ok || secret.Name != "confluence-token" || json.Unmarshal(secret.Data["token.json"], &token) != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, known := w.writes[token.IssuedAt]; !known {
			w.writes[token.IssuedAt] = time.Now()
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, object any) { note(object) }})
	must.Succeed(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	factory.StartWithContext(ctx)
	t.Cleanup(func() { cancel(); factory.Shutdown() })
}

func (w *world) written() map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.writes)
}

// eventually polls until check is true. An error, of an apiserver that is restarted for instance, is not the end.
func (w *world) eventually(t *testing.T, what string, check wait.ConditionWithContextFunc) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var done bool
		done, last = check(ctx)
		return done && last == nil, nil
	})
	if err != nil {
		t.Fatalf("waiting until %s: %v: %v", what, err, last)
	}
}

func (w *world) untilReason(t *testing.T, namespace, object, reason string) {
	t.Helper()
	w.eventually(t, object+" is "+reason, func(ctx context.Context) (bool, error) {
		got, err := w.reason(ctx, namespace, object)
		return got == reason, err
	})
}

// explain shows what there is to see after a failure.
func (w *world) explain(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	for _, args := range [][]string{
		{"get", "pods,kcr,ctb", "-A", "-o", "wide"},
		{"get", "events", "-A"},
	} {
		out, _ := w.cluster.Kubectl(ctx, args...)
		t.Log(out)
	}
	if w.node == nil {
		return
	}
	for _, path := range []string{"containerd.log", "kubelet.log", "kube-proxy.log", "kube-router.log"} {
		raw, _ := os.ReadFile(filepath.Join(w.node.Dir, path)) // #nosec G304 -- the node's own folder
		lines := strings.Split(string(raw), "\n")
		t.Logf("the end of %s:\n%s", path, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
	operator, _ := w.node.PodLogs("keycard-system", "*", "operator")
	t.Logf("the operator:\n%s", operator)
}

// expectMode checks a mounted file.
func (w *world) expectMode(t *testing.T, file string, mode fs.FileMode, group uint32) {
	t.Helper()
	info, err := os.Stat(filepath.Join(w.node.Volume(w.podUID(t, "reports"), "confluence-token"), file))
	must.Succeed(t, err)
	if got := info.Sys().(*syscall.Stat_t).Gid; info.Mode().Perm() != mode || got != group {
		t.Errorf("%s has the mode %v and the group %d", file, info.Mode(), got)
	}
}
