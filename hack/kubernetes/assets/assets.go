// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package assets knows where the binaries of a Kubernetes control plane are kept and which version the
// project builds. The program that builds them and the tests that run them share it.
package assets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Env names a folder with binaries to be used in place of built ones, as controller-runtime's envtest and
// setup-envtest have it.
const Env = "KUBEBUILDER_ASSETS"

// Names are the binaries of a control plane, and kubectl.
var Names = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}

// NodeNames are the binaries that a cluster with a node has besides. runc is not among them: it needs cgo, and distributions
// have it.
var NodeNames = []string{
	"kubelet", "kube-scheduler", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr",
	"bridge", "host-local", "kube-router",
}

// Find gives the folder with the binaries: the one that KUBEBUILDER_ASSETS names, or else what
// `make kubernetes` built. The error names every missing binary and the remedy.
func Find() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		return dir, Check(dir)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir, err := Dir(root)
	if err != nil {
		return "", err
	}
	if missing := Missing(dir, Names...); len(missing) > 0 {
		return "", fmt.Errorf("%s is not built in %s: run `make kubernetes`", strings.Join(missing, ", "), dir)
	}
	return dir, nil
}

// Check says what a folder named by KUBEBUILDER_ASSETS lacks.
func Check(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s is %q: it has to be an absolute path, since each test runs in its package's folder", Env, dir)
	}
	if missing := Missing(dir, Names...); len(missing) > 0 {
		return fmt.Errorf("%s is %s, which has no %s: add it there, or unset the variable to use what `make kubernetes` builds",
			Env, dir, strings.Join(missing, ", "))
	}
	return nil
}

// CheckNode says which of the node's binaries a folder lacks.
func CheckNode(dir string) error {
	if missing := Missing(dir, NodeNames...); len(missing) > 0 {
		return fmt.Errorf("%s is not in %s: run `make node`, or, when %s is set, add it there",
			strings.Join(missing, ", "), dir, Env)
	}
	return nil
}

// Missing gives the names that are not executable files in a folder.
func Missing(dir string, names ...string) []string {
	var missing []string
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name)) //nolint:gosec // a folder the developer names
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	return missing
}

// Root gives the project's folder: the one with the go.mod of the operator, at or above the working
// directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the project: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, ControlPlane, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("finding the project: no folder at or above the working directory has %s", ControlPlane)
		}
		dir = parent
	}
}

// The modules that pin what is built, relative to Root.
const (
	ControlPlane = "hack/kubernetes/controlplane"
	Etcd         = "hack/kubernetes/etcd"
	Containerd   = "hack/kubernetes/containerd"
	KubeRouter   = "hack/kubernetes/kuberouter"
)

// Dir gives the folder for built binaries, keyed by the version of Kubernetes.
func Dir(root string) (string, error) {
	version, err := Version(root, ControlPlane, "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache", "kubernetes", version), nil
}

// Version reads from a module's go.mod which version of another module it requires.
func Version(root, module, path string) (string, error) {
	file := filepath.Join(root, module, "go.mod")
	data, err := os.ReadFile(file) // #nosec G304 -- a file of the project
	if err != nil {
		return "", fmt.Errorf("reading the version of %s: %w", path, err)
	}
	version, err := required(string(data), path)
	if err != nil {
		return "", fmt.Errorf("reading the version of %s from %s: %w", path, file, err)
	}
	return version, nil
}

// required finds the version in a require line, alone or in a block. Replacements are written with an
// arrow and don't count.
func required(gomod, path string) (string, error) {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "require" {
			fields = fields[1:]
		}
		if len(fields) >= 2 && fields[0] == path && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", errors.New("it is not required there")
}
