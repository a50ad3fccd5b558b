// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Assets finds the folder with the Kubernetes binaries: KUBEBUILDER_ASSETS where that is set, or what
// `make kubernetes` built. The error says what is missing and how to get it.
func Assets() (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir, missing(dir, "KUBEBUILDER_ASSETS names a folder without it; unset it, or add the binary")
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	built, err := filepath.Glob(filepath.Join(root, ".cache", "kubernetes", "v*"))
	if err != nil || len(built) == 0 {
		return "", errors.New("the Kubernetes binaries are not built; run `make kubernetes`")
	}
	slices.Sort(built)
	dir := built[len(built)-1]
	return dir, missing(dir, "run `make kubernetes`")
}

func missing(dir, remedy string) error {
	for _, name := range binaries {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 == 0 {
			return fmt.Errorf("%s is not in %s; %s", name, dir, remedy)
		}
	}
	return nil
}

// moduleRoot is the folder with the project's go.mod, from wherever a test runs.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the project: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "api", "v1alpha1")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the project: no folder above this one holds api/v1alpha1")
		}
		dir = parent
	}
}
