// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

const (
	root = "../../"
	// fewRotations is how many a tool is watched for; TestNoDrift looks at more.
	fewRotations = 2
	// patience is how long a GitOps tool may take for a step.
	patience = 2 * time.Minute
)

// tool gives the path of what `make gitops` built. CI fails without it; others are told what was left out.
func tool(t *testing.T, name, notTested string) string {
	t.Helper()
	path, err := filepath.Abs(root + ".cache/gitops/current/" + name)
	must.Succeed(t, err)
	if _, err := os.Stat(path); err != nil {
		leaveOut(t, notTested, "run `make gitops`: "+err.Error())
	}
	return path
}

func leaveOut(t *testing.T, notTested, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("CI runs this test: ", why)
	}
	t.Skipf("NOT TESTED, %s: %s", notTested, why)
}

// kinds applies the CRDs that Argo CD and Flux publish, in the versions that hack/gitops pins.
func kinds(t *testing.T, cluster *testenv.ControlPlane, files ...string) {
	t.Helper()
	args := []string{"apply", "--server-side"}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	_, err := cluster.Kubectl(t.Context(), args...)
	must.Succeed(t, err)
	must.Succeed(t, program.AwaitKinds(t.Context(), cluster, "crd", "--all"))
}

func fluxKinds(t *testing.T) []string {
	t.Helper()
	kustomize := module(t, "hack/gitops", "github.com/fluxcd/kustomize-controller")
	source := module(t, "hack/gitops/source", "github.com/fluxcd/source-controller")
	return []string{kustomize + "/config/crd/bases", source + "/config/crd/bases"}
}

func argoKinds(t *testing.T) []string {
	t.Helper()
	crds := module(t, "hack/gitops", "github.com/argoproj/argo-cd/v3") + "/manifests/crds/"
	return []string{crds + "application-crd.yaml", crds + "appproject-crd.yaml"}
}

// module gives the folder of a module's source, which is downloaded when it is not there.
func module(t *testing.T, pin, path string) string {
	t.Helper()
	var out bytes.Buffer
	if err := program.Go(t.Context(), &out, "-C", root+pin, "mod", "download", "-json", path); err != nil {
		leaveOut(t, "the kinds of Argo CD and Flux", out.String())
	}
	var found struct{ Dir string }
	must.Succeed(t, json.Unmarshal(out.Bytes(), &found))
	return found.Dir
}

// operatorFolder is what the operator's own Application or Kustomization applies, but for the Deployment: the tests run the
// operator themselves.
func operatorFolder(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"keycard-operator/kustomization.yaml": "resources: [crd, rbac]\n"}
	for _, folder := range []string{"account", "crd", "rbac"} {
		must.Succeed(t, filepath.WalkDir(root+"config/"+folder, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files["keycard-operator/"+strings.TrimPrefix(path, root+"config/")] = read(t, path)
			}
			return err
		}))
	}
	return files
}

// untilGone waits until a binding, and the Secret that it made, are gone.
func (w *world) untilGone(binding, secret, log string) {
	w.t.Helper()
	w.eventually(binding+" is gone", log, func(ctx context.Context) (bool, error) {
		obj := &v1alpha1.ConfluenceTokenBinding{}
		if err := w.client.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: binding}, obj); !apierrors.IsNotFound(err) {
			return false, err
		}
		if secret == "" {
			return true, nil
		}
		err := w.client.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: secret}, &corev1.Secret{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// eventually waits for a tool, whose log says why it may not come.
func (w *world) eventually(what, log string, check func(ctx context.Context) (bool, error)) {
	w.t.Helper()
	if err := program.Until(w.t.Context(), patience, check); err != nil {
		w.t.Fatalf("waiting until %s: %v\nthe log ends with\n%s", what, err, program.Tail(log, 15))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path) // #nosec G304 -- of the project, or of the test
	must.Succeed(t, err)
	return string(raw)
}
