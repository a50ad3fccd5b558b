// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// pause is how long a test looks whether something stays away.
const pause = 8 * time.Second

var (
	application = schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application"}
	deployment  = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
)

// argoSettings are what Argo CD's own installation brings along. Its API server makes the project.
const argoSettings = `apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: a-key-of-the-test}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{server: "*", namespace: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
`

// Argo CD itself, with the patched ConfigMap and the samples.
func TestArgoCD(t *testing.T) {
	t.Parallel()
	a := startArgoCD(t)
	w := a.world(t, "platform")
	install, binding, _ := strings.Cut(read(t, w.file), "---\n")
	kept := strings.NewReplacer("name: reports,", "name: kept, annotations: {argocd.argoproj.io/sync-options: Prune=false},",
		"name: reports-token", "name: kept-token").Replace(binding)
	w.commit("confluence", map[string]string{"confluence/install.yaml": install, "confluence/binding.yaml": binding + "---\n" + kept})
	w.apply("applications.yaml")
	w.untilKinds()
	t.Run("waves", a.waves)
	t.Run("no waves", func(t *testing.T) {
		t.Parallel()
		w.t = t
		w.noWaves(install)
	})
}

// waves runs the sample with sync waves: each wave waits for the one before, and a wave that needs a person ends the sync before
// the workload changes.
func (a *argoCD) waves(t *testing.T) {
	t.Parallel()
	w := a.world(t, "reports")
	for sample, secret := range map[string]string{
		"keycard-service-account": "service-account", "confluence-oauth-app": "oauth-app", "reports-keycard-app": "reports-app",
	} {
		w.copySecret(secret, sample)
	}
	folder := map[string]string{}
	for _, name := range []string{"kustomization.yaml", "install.yaml", "binding.yaml", "workload.yaml"} {
		folder["reports/"+name] = read(t, argocd+"waves/"+name)
	}
	folder["reports/install.yaml"] = strings.Replace(folder["reports/install.yaml"], "id: zn-8f2c",
		fmt.Sprintf("id: %q\n    issuer: %q\n    apiURL: %q", w.zone.ZoneID, w.zone.Issuer, w.zone.APIURL), 1)
	w.commit("reports", folder)
	w.apply("waves/application.yaml")

	w.untilThere(v1alpha1.GroupVersion.WithKind("KeycardResource"), "confluence")
	w.expectAway("a wave goes on while its install is progressing", v1alpha1.GroupVersion.WithKind("ConfluenceTokenBinding"), "reports")
	w.startOperator()
	w.untilThere(v1alpha1.GroupVersion.WithKind("ConfluenceTokenBinding"), "reports")
	w.expectReady("KeycardResource", "confluence")
	w.untilThere(deployment, "reports")
	w.expectReady("ConfluenceTokenBinding", "reports")
	w.rollOut()
	w.untilApplication("reports", "Succeeded", "Synced", "Healthy")

	w.kubectl("-n", w.ns, "create", "secret", "generic", "wrong-app", "--from-literal=client_id=reports", "--from-literal=client_secret=wrong")
	binding := folder["reports/binding.yaml"]
	folder["reports/binding.yaml"] = strings.Replace(binding, "reports-keycard-app", "wrong-app", 1)
	folder["reports/workload.yaml"] = strings.Replace(folder["reports/workload.yaml"], "reports:v1", "reports:v2", 1)
	w.commit("reports", folder)
	w.untilApplication("reports", "", "OutOfSync", "Degraded")
	w.expectImage("reports:v1")
	folder["reports/binding.yaml"] = binding
	w.commit("reports", folder)
	w.untilImage("reports:v2")
	w.expectReady("ConfluenceTokenBinding", "reports")
	w.rollOut()
	w.untilApplication("reports", "Succeeded", "Synced", "Healthy")
	w.suspended(folder)
}

// suspended shows that a sync waits for a binding that is suspended.
func (w *argoWorld) suspended(folder map[string]string) {
	w.t.Helper()
	folder["reports/binding.yaml"] = strings.Replace(folder["reports/binding.yaml"], "\nspec:\n", "\nspec:\n  suspend: true\n", 1)
	folder["reports/workload.yaml"] = strings.Replace(folder["reports/workload.yaml"], "reports:v2", "reports:v3", 1)
	w.commit("reports", folder)
	w.untilApplication("reports", "Running", "OutOfSync", "Suspended")
	w.expectImage("reports:v2")
	w.kubectl("-n", w.ns, "patch", "confluencetokenbinding", "reports", "--type=merge", `-p={"spec":{"suspend":false}}`)
	w.untilImage("reports:v3")
}

// noWaves goes on with the samples without waves: one sync, which comes up by itself; rotations are no drift; pruning.
func (w *argoWorld) noWaves(install string) {
	w.t.Helper()
	w.startOperator()
	w.untilApplication("confluence", "Succeeded", "Synced", "Healthy")
	w.eventually("tokens were replaced", func(ctx context.Context) (bool, error) {
		w.judge(w.get("ConfluenceTokenBinding", "reports"))
		state, err := w.state(ctx, "confluence")
		if err == nil && (state.sync != "Synced" || state.health != "Healthy") {
			w.t.Errorf("the Application is %+v", state)
		}
		return len(w.issued) > fewRotations, err
	})
	if syncs := len(w.history("confluence")); syncs != 1 {
		w.t.Errorf("there were %d syncs, one is enough for everything, and rotations need none", syncs)
	}

	w.commit("confluence", map[string]string{"confluence/install.yaml": install})
	w.untilGone("reports", "reports-token")
	w.get("ConfluenceTokenBinding", "kept")
	w.kubectl("-n", w.ns, "get", "secret", "kept-token")
}

// argoCD is a cluster with Argo CD, and Git.
type argoCD struct {
	cluster  *testenv.ControlPlane
	git, log string
	// bin has the programs that Argo CD runs, but for git.
	bin string
}

func startArgoCD(t *testing.T) *argoCD {
	t.Helper()
	path := tool(t, "argocd", "Argo CD with the samples of config/argocd")
	crds := argoKinds(t)
	ctrl.SetLogger(logr.Discard())
	cluster, err := testenv.Start(testenv.Options{ControllerManager: true})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, cluster.Stop()) })
	kinds(t, cluster, crds...)
	patchArgoCD(t, cluster)
	dir := t.TempDir()
	a := &argoCD{cluster: cluster, git: filepath.Join(dir, "git"), log: filepath.Join(dir, "argocd.log"), bin: filepath.Join(dir, "bin")}
	file := filepath.Join(dir, "settings.yaml")
	must.Succeed(t, os.WriteFile(file, []byte(argoSettings), 0o600))
	for _, args := range [][]string{
		{"apply", "-f", file}, {"-n", "argocd", "label", "configmap", "argocd-cm", "app.kubernetes.io/part-of=argocd"},
	} {
		_, err := cluster.Kubectl(t.Context(), args...)
		must.Succeed(t, err)
	}
	commit(t, a.git+"-keycard-operator", operatorFolder(t))
	must.Succeed(t, os.Mkdir(a.bin, 0o700))
	must.Succeed(t, os.Symlink(filepath.Join(filepath.Dir(path), "kustomize"), filepath.Join(a.bin, "kustomize")))
	const wrapper = "git-verify-wrapper.sh" // of Argo CD's image
	script := read(t, module(t, "hack/gitops", "github.com/argoproj/argo-cd/v3")+"/hack/"+wrapper)
	must.Succeed(t, os.WriteFile(filepath.Join(a.bin, wrapper), []byte(script), 0o700)) // #nosec G306 -- it is a program
	a.start(t, path, dir)
	return a
}

// start starts Argo CD as it is by default: with an administrator's permissions.
func (a *argoCD) start(t *testing.T, path, dir string) {
	t.Helper()
	kubeconfig, err := a.cluster.WriteKubeconfig("argocd", a.cluster.Config)
	must.Succeed(t, err)
	p, err := program.Start("/usr/bin/env", a.log, "KUBECONFIG="+kubeconfig, "TMPDIR="+dir, "HOME="+dir, "ARGOCD_FAKE_IN_CLUSTER=true",
		"ARGOCD_GPG_ENABLED=false", "PATH="+a.bin+string(os.PathListSeparator)+os.Getenv("PATH"), path)
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, p.Stop(program.StopTimeout)) })
}

// commit makes a repository of just these files, or a commit in it.
func commit(t *testing.T, repository string, files map[string]string) {
	t.Helper()
	must.Succeed(t, os.MkdirAll(repository, 0o700))
	entries, err := os.ReadDir(repository)
	must.Succeed(t, err)
	for _, entry := range entries {
		if entry.Name() != ".git" {
			must.Succeed(t, os.RemoveAll(filepath.Join(repository, entry.Name())))
		}
	}
	for name, content := range files {
		path := filepath.Join(repository, name)
		must.Succeed(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must.Succeed(t, os.WriteFile(path, []byte(content), 0o600))
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--allow-empty", "--message=test"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
}

// argoWorld is a namespace that an Application looks after.
type argoWorld struct {
	*world
	argo *argoCD
}

func (a *argoCD) world(t *testing.T, ns string) *argoWorld {
	t.Helper()
	return &argoWorld{world: newWorld(t, a.cluster, ns), argo: a}
}

func (w *argoWorld) commit(name string, files map[string]string) {
	w.t.Helper()
	commit(w.t, w.argo.git+"-"+name, maps.Clone(files))
}

// apply applies sample Applications, each with a repository of its own, and retries that a test can wait for.
func (w *argoWorld) apply(sample string) {
	w.t.Helper()
	var parts []string
	for part := range strings.SplitSeq(read(w.t, argocd+sample), "\n---\n") {
		_, name, _ := strings.Cut(part, "path: ")
		name, _, _ = strings.Cut(name, "}")
		parts = append(parts, strings.NewReplacer("https://git.example.com/fleet.git", "file://"+w.argo.git+"-"+name,
			"limit: 5", "limit: 50", "duration: 10s", "duration: 2s", "maxDuration: 3m", "maxDuration: 4s").Replace(part))
	}
	file := filepath.Join(w.t.TempDir(), "application.yaml")
	must.Succeed(w.t, os.WriteFile(file, []byte(strings.Join(parts, "\n---\n")), 0o600))
	w.kubectl("apply", "-f", file)
}

func (w *argoWorld) copySecret(from, to string) {
	w.t.Helper()
	secret := &corev1.Secret{}
	must.Succeed(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: from}, secret))
	next := &corev1.Secret{Data: secret.Data}
	next.Namespace, next.Name = w.ns, to
	must.Succeed(w.t, w.client.Create(w.t.Context(), next))
}

func (w *argoWorld) there(ctx context.Context, kind schema.GroupVersionKind, name string) (bool, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kind)
	err := w.client.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, obj)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

// untilKinds waits for the CRDs, which come with the operator's Application.
func (w *argoWorld) untilKinds() {
	w.t.Helper()
	w.eventually("the kinds are there", func(ctx context.Context) (bool, error) {
		_, err := w.cluster.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=1s",
			"crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud")
		return err == nil, nil
	})
}

func (w *argoWorld) untilThere(kind schema.GroupVersionKind, name string) {
	w.t.Helper()
	w.eventually(kind.Kind+" "+name+" is there", func(ctx context.Context) (bool, error) { return w.there(ctx, kind, name) })
}

func (w *argoWorld) expectAway(complaint string, kind schema.GroupVersionKind, name string) {
	w.t.Helper()
	if err := program.Until(w.t.Context(), pause, func(ctx context.Context) (bool, error) { return w.there(ctx, kind, name) }); err == nil {
		w.t.Error(complaint)
	}
}

func (w *argoWorld) expectReady(kind, name string) {
	w.t.Helper()
	if health, message := healthOf(w.t, w.get(kind, name)); health != "Healthy" {
		w.t.Errorf("the next wave came while the %s was %s: %s", kind, health, message)
	}
}

// rollOut says what the controllers of Deployments would say, of which there are none here.
func (w *argoWorld) rollOut() {
	w.t.Helper()
	generation, err := w.cluster.Kubectl(w.t.Context(), "-n", w.ns, "get", "deployment", "reports", "-o", "jsonpath={.metadata.generation}")
	must.Succeed(w.t, err)
	w.kubectl("-n", w.ns, "patch", "deployment", "reports", "--subresource=status", "--type=merge",
		`-p={"status":{"observedGeneration":`+generation+`,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`)
}

func (w *argoWorld) image() string {
	w.t.Helper()
	out, err := w.cluster.Kubectl(w.t.Context(), "-n", w.ns, "get", "deployment", "reports", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	must.Succeed(w.t, err)
	return out
}

func (w *argoWorld) untilImage(suffix string) {
	w.t.Helper()
	w.eventually("the workload has "+suffix, func(context.Context) (bool, error) { return strings.HasSuffix(w.image(), suffix), nil })
}

func (w *argoWorld) expectImage(suffix string) {
	w.t.Helper()
	err := program.Until(w.t.Context(), pause, func(context.Context) (bool, error) { return !strings.HasSuffix(w.image(), suffix), nil })
	if err == nil {
		w.t.Errorf("the workload has %s", w.image())
	}
}

// state is an Application's: of its last sync, and of the comparison with Git.
type state struct{ phase, sync, health string }

func (w *argoWorld) application(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(application)
	return obj, w.client.Get(ctx, client.ObjectKey{Namespace: "argocd", Name: name}, obj)
}

func (w *argoWorld) state(ctx context.Context, name string) (s state, err error) {
	obj, err := w.application(ctx, name)
	if err != nil {
		return s, err
	}
	s.phase, _, _ = unstructured.NestedString(obj.Object, "status", "operationState", "phase")
	s.sync, _, _ = unstructured.NestedString(obj.Object, "status", "sync", "status")
	s.health, _, _ = unstructured.NestedString(obj.Object, "status", "health", "status")
	return s, nil
}

func (w *argoWorld) history(name string) []any {
	w.t.Helper()
	obj, err := w.application(w.t.Context(), name)
	must.Succeed(w.t, err)
	history, _, err := unstructured.NestedSlice(obj.Object, "status", "history")
	must.Succeed(w.t, err)
	return history
}

// untilApplication waits for a state. An empty phase stands for any.
func (w *argoWorld) untilApplication(name, phase, sync, health string) {
	w.t.Helper()
	want, got := state{phase, sync, health}, state{}
	w.t.Cleanup(func() {
		if got != want {
			out, err := w.cluster.Kubectl(context.WithoutCancel(w.t.Context()), "-n", "argocd", "get", "application", name, "-o", "jsonpath={.status}")
			w.t.Logf("Application %s is %s%v", name, out, err)
		}
	})
	w.eventually(fmt.Sprintf("Application %s is %+v", name, want), func(ctx context.Context) (bool, error) {
		var err error
		got, err = w.state(ctx, name)
		if phase == "" {
			got.phase = ""
		}
		return got == want, err
	})
}

func (w *argoWorld) eventually(what string, check func(ctx context.Context) (bool, error)) {
	w.t.Helper()
	w.world.eventually(what, w.argo.log, check)
}

func (w *argoWorld) untilGone(binding, secret string) {
	w.t.Helper()
	w.world.untilGone(binding, secret, w.argo.log)
}
