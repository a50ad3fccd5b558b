// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package assets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

func TestVersion(t *testing.T) {
	for name, test := range map[string]struct {
		gomod, want, err string
	}{
		"in a block":                {gomod: "module m\n\nrequire (\n\texample.com/a v1.2.3 // indirect\n\texample.com/b v0.1.0\n)\n", want: "v1.2.3"},
		"alone":                     {gomod: "module m\n\nrequire example.com/a v2.0.0\n", want: "v2.0.0"},
		"the end of another's path": {gomod: "require (\n\tx.example.com/a v1.0.0\n\texample.com/a/b v1.0.0\n)\n", err: "not required"},
		"replaced only":             {gomod: "replace example.com/a => example.com/a v9.0.0\nreplace (\n\texample.com/a => ../a\n)\n", err: "not required"},
		"a tool line":               {gomod: "tool example.com/a\n\ntool (\n\texample.com/a\n)\n", err: "not required"},
		"empty":                     {err: "not required"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "m", "go.mod"), test.gomod, 0o600)
			got, err := assets.Version(root, "m", "example.com/a")
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want one with %q", err, test.err)
			}
		})
	}
}

func TestFindUsesNamedFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(assets.Env, dir)
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		write(t, filepath.Join(dir, name), "", 0o700)
	}
	write(t, filepath.Join(dir, "kube-controller-manager"), "", 0o600)
	_, err := assets.Find()
	if err == nil || !strings.Contains(err.Error(), "has no kube-controller-manager: add it there, or unset") {
		t.Errorf("a file that can't be executed passes: %v", err)
	}
	if err := os.Chmod(filepath.Join(dir, "kube-controller-manager"), 0o700); err != nil { // #nosec G302 -- stands for a program
		t.Fatal(err)
	}
	if got, err := assets.Find(); err != nil || got != dir {
		t.Errorf("got %q, %v, want %q", got, err, dir)
	}
}

func TestFindRefusesRelativeFolder(t *testing.T) {
	t.Setenv(assets.Env, "bin")
	if _, err := assets.Find(); err == nil || !strings.Contains(err.Error(), `KUBEBUILDER_ASSETS is "bin": it has to be an absolute path`) {
		t.Errorf("got %v", err)
	}
}

func TestFindNamesWhatIsNotBuilt(t *testing.T) {
	root := t.TempDir()
	t.Setenv(assets.Env, "")
	write(t, filepath.Join(root, assets.ControlPlane, "go.mod"), "require k8s.io/kubernetes v1.2.3\n", 0o600)
	write(t, filepath.Join(root, ".cache/kubernetes/v1.2.3/etcd"), "", 0o700)
	below := filepath.Join(root, "internal", "x")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	_, err := assets.Find()
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver, kube-controller-manager, kubectl is not built") ||
		!strings.Contains(err.Error(), "make kubernetes") {
		t.Errorf("got %v", err)
	}
}

func TestRootOutsideOfProject(t *testing.T) {
	t.Chdir(t.TempDir())
	if root, err := assets.Root(); err == nil {
		t.Errorf("found %s", root)
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
