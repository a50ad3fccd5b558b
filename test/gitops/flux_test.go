// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

const (
	fluxNamespace = "flux-system"
	// early is less than the time that Flux would wait, were there no expressions that say when waiting is of no use.
	early = 45 * time.Second
)

var kustomization = schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}

// sooner are the samples' times, for a test.
var sooner = strings.NewReplacer("interval: 10m", "interval: 5s", "retryInterval: 1m", "retryInterval: 2s")

// anotherBinding is one more, of a given name, Secret and annotation.
const anotherBinding = `---
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {name: %[1]s, namespace: flux, annotations: {%[3]s}}
spec:
  resourceRef: {name: confluence}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  secret: {name: %[2]s}
`

// Flux itself, with the samples: what uses the operator is ready when its tokens are there, and not before; it fails at once
// when a person is needed; rotations are no drift; what leaves Git is gone, with its Secret, unless it is to be kept.
func TestFlux(t *testing.T) {
	t.Parallel()
	f := newFlux(t)
	install, binding, _ := strings.Cut(f.text(), "---\n")
	f.commit(map[string]string{"install.yaml": install, "binding.yaml": binding})
	f.untilReady("keycard-operator")
	f.expectWaiting()
	f.startOperator()
	f.untilReady("confluence")
	if !meta.IsStatusConditionTrue(f.conditions(f.get("ConfluenceTokenBinding", "reports")), v1alpha1.ConditionReady) {
		t.Error("the Kustomization was ready before the binding")
	}
	f.watchRotations()
	f.expectNoApplies()

	kept := fmt.Sprintf(anotherBinding, "kept", "kept-token", "kustomize.toolkit.fluxcd.io/prune: disabled")
	f.kubectl("-n", f.ns, "create", "secret", "generic", "foreign")
	f.commit(map[string]string{
		"install.yaml": install, "binding.yaml": binding + kept + fmt.Sprintf(anotherBinding, "stuck", "foreign", ""),
	})
	f.expectEarlyFailure("stuck")

	f.commit(map[string]string{"install.yaml": install})
	f.untilGone("reports", "reports-token")
	f.untilGone("stuck", "")
	f.untilReady("confluence")
	f.get("ConfluenceTokenBinding", "kept")
	f.kubectl("-n", f.ns, "get", "secret", "foreign", "kept-token")
	f.kubectl("-n", f.ns, "delete", "confluencetokenbinding", "kept")
	f.remove()
}

// remove takes what uses the operator away, then the operator.
func (f *flux) remove() {
	f.t.Helper()
	f.kubectl("-n", fluxNamespace, "delete", "kustomization", "confluence", "--timeout="+patience.String())
	if out, err := f.cluster.Kubectl(f.t.Context(), "-n", f.ns, "get", "keycardresources", "-o", "name"); err != nil || out != "" {
		f.t.Errorf("Flux did not wait until the install with deletionPolicy Delete was gone: %s%v", out, err)
	}
	f.kubectl("-n", fluxNamespace, "delete", "kustomization", "keycard-operator", "--timeout="+patience.String())
	f.eventually("the operator's permissions are gone", func(ctx context.Context) (bool, error) {
		_, err := f.cluster.Kubectl(ctx, "get", "clusterrole", "keycard-operator")
		return err != nil, nil
	})
	f.kubectl("get", "crd", "keycardresources.keycard.cloud", "confluencetokenbindings.keycard.cloud")
}

// flux is a world in which Flux's kustomize-controller applies what is in Git.
type flux struct {
	*world
	dir, log string
	mu       sync.Mutex
	// artifact is what is in Git, as Flux's source-controller serves it; revisions counts the commits.
	artifact  []byte
	revisions int
	url       string
}

func newFlux(t *testing.T) *flux {
	t.Helper()
	path := tool(t, "kustomize-controller", "Flux with the samples of config/flux")
	crds := fluxKinds(t)
	ctrl.SetLogger(logr.Discard())
	cluster, err := testenv.Start(testenv.Options{ControllerManager: true})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, cluster.Stop()) })
	kinds(t, cluster, crds...)
	f := &flux{world: newWorld(t, cluster, "flux"), dir: t.TempDir()}
	f.log = filepath.Join(f.dir, "kustomize-controller.log")
	web := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(web.Close)
	f.url = web.URL
	f.kubectl("create", "namespace", fluxNamespace)
	for _, sample := range []string{"operator", "confluence"} {
		file := filepath.Join(f.dir, sample+".yaml")
		must.Succeed(t, os.WriteFile(file, []byte(sooner.Replace(read(t, root+"config/flux/"+sample+".yaml"))), 0o600))
		f.kubectl("apply", "-f", file)
	}
	f.start(path)
	return f
}

// start starts kustomize-controller with an administrator's permissions, which it has by default.
func (f *flux) start(path string) {
	f.t.Helper()
	kubeconfig, err := f.cluster.WriteKubeconfig("flux", f.cluster.Config)
	must.Succeed(f.t, err)
	p, err := program.Start("/usr/bin/env", f.log, "KUBECONFIG="+kubeconfig, "TMPDIR="+f.dir, "RUNTIME_NAMESPACE="+fluxNamespace,
		path, "--metrics-addr=0", "--health-addr=0", "--requeue-dependency=1s")
	must.Succeed(f.t, err)
	f.t.Cleanup(func() { must.Succeed(f.t, p.Stop(program.StopTimeout)) })
}

// text is the world's manifests.
func (f *flux) text() string { return read(f.t, f.file) }

// commit puts other files into Git, and publishes the artifact that source-controller makes of them.
func (f *flux) commit(files map[string]string) {
	f.t.Helper()
	tree := operatorFolder(f.t)
	for name, content := range files {
		tree["confluence/"+name] = content
	}
	artifact := archive(f.t, tree)
	f.mu.Lock()
	f.artifact = artifact
	f.revisions++
	f.mu.Unlock()
	f.publish(fmt.Sprintf("main@sha1:%040x", f.revisions), fmt.Sprintf("sha256:%x", sha256.Sum256(artifact)))
}

// publish says in the GitRepository's status what there is, as source-controller does.
func (f *flux) publish(revision, digest string) {
	f.t.Helper()
	repository := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
		"metadata": map[string]any{"name": "fleet", "namespace": fluxNamespace},
		"spec":     map[string]any{"url": "https://git.example.com/fleet.git", "interval": "1m"},
	}}
	err := f.client.Create(f.t.Context(), repository.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		must.Succeed(f.t, err)
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"artifact": map[string]any{
		"path": "fleet.tar.gz", "url": f.url + "/fleet.tar.gz", "revision": revision, "digest": digest,
		"lastUpdateTime": time.Now().UTC().Format(time.RFC3339),
	}}})
	must.Succeed(f.t, err)
	must.Succeed(f.t, f.client.Status().Patch(f.t.Context(), repository, client.RawPatch("application/merge-patch+json", patch)))
}

func (f *flux) serve(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = w.Write(f.artifact)
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	packed := tar.NewWriter(zipped)
	for name, content := range files {
		must.Succeed(t, packed.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}))
		_, err := packed.Write([]byte(content))
		must.Succeed(t, err)
	}
	must.Succeed(t, packed.Close())
	must.Succeed(t, zipped.Close())
	return out.Bytes()
}

// ready gives the Kustomization's condition for the commit that is there, or nothing when it has not looked at that yet.
func (f *flux) ready(ctx context.Context, name string) (*metav1.Condition, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kustomization)
	if err := f.client.Get(ctx, client.ObjectKey{Namespace: fluxNamespace, Name: name}, obj); err != nil {
		return nil, err
	}
	revision, _, err := unstructured.NestedString(obj.Object, "status", "lastAttemptedRevision")
	if err != nil || revision != fmt.Sprintf("main@sha1:%040x", f.revisions) {
		return nil, err
	}
	return meta.FindStatusCondition(f.conditions(obj), "Ready"), nil
}

func (f *flux) conditions(obj *unstructured.Unstructured) []metav1.Condition {
	f.t.Helper()
	var status struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	must.Succeed(f.t, runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &status))
	return status.Status.Conditions
}

func (f *flux) untilReady(name string) {
	f.t.Helper()
	f.eventually(name+" is ready", func(ctx context.Context) (bool, error) {
		ready, err := f.ready(ctx, name)
		return ready != nil && ready.Status == metav1.ConditionTrue, err
	})
}

// expectWaiting looks for a while at a Kustomization whose objects nobody looks after: they have no status, which kstatus alone
// takes for current.
func (f *flux) expectWaiting() {
	f.t.Helper()
	f.eventually("the binding is applied", func(ctx context.Context) (bool, error) {
		_, err := f.cluster.Kubectl(ctx, "-n", f.ns, "get", "confluencetokenbinding", "reports")
		return err == nil, nil
	})
	err := program.Until(f.t.Context(), 8*time.Second, func(ctx context.Context) (bool, error) {
		ready, err := f.ready(ctx, "confluence")
		return ready != nil && ready.Status != metav1.ConditionUnknown, err
	})
	if err == nil {
		f.t.Error("the Kustomization does not wait for the operator")
	}
}

// watchRotations waits for tokens. The Kustomization is applied every few seconds meanwhile.
func (f *flux) watchRotations() {
	f.t.Helper()
	f.eventually("tokens were replaced", func(ctx context.Context) (bool, error) {
		f.judge(f.get("ConfluenceTokenBinding", "reports"))
		ready, err := f.ready(ctx, "confluence")
		if ready != nil && ready.Status == metav1.ConditionFalse {
			f.t.Errorf("the Kustomization is not ready: %s", ready.Message)
		}
		return len(f.issued) > fewRotations, err
	})
	f.expectSchedule()
}

var changed = regexp.MustCompile(`"(KeycardResource|ConfluenceTokenBinding)/flux/[a-z]+":"(configured|unchanged)"`)

// expectNoApplies checks in the log that Flux found nothing to change in objects that were there.
func (f *flux) expectNoApplies() {
	f.t.Helper()
	unchanged := 0
	for _, found := range changed.FindAllStringSubmatch(read(f.t, f.log), -1) {
		if found[2] == "configured" {
			f.t.Errorf("Flux found drift in %s", found[1])
			continue
		}
		unchanged++
	}
	if unchanged < 2*fewRotations {
		f.t.Errorf("Flux's log says only %d times that an object is unchanged", unchanged)
	}
}

// expectEarlyFailure waits until the Kustomization fails for a binding that needs a person, long before its timeout.
func (f *flux) expectEarlyFailure(binding string) {
	f.t.Helper()
	start := time.Now()
	f.eventually("the Kustomization fails", func(ctx context.Context) (bool, error) {
		ready, err := f.ready(ctx, "confluence")
		return ready != nil && ready.Status == metav1.ConditionFalse &&
			strings.Contains(ready.Message, "ConfluenceTokenBinding/"+f.ns+"/"+binding), err
	})
	if took := time.Since(start); took > early {
		f.t.Errorf("it took %s", took)
	}
}

func (f *flux) untilGone(binding, secret string) {
	f.t.Helper()
	f.world.untilGone(binding, secret, f.log)
}

func (f *flux) eventually(what string, check func(ctx context.Context) (bool, error)) {
	f.t.Helper()
	f.world.eventually(what, f.log, check)
}
