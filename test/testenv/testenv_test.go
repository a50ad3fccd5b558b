// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// A namespace goes away with what is in it, and a ServiceAccount's token has its permissions and no more.
func TestControlPlane(t *testing.T) {
	c, err := testenv.Start(testenv.Options{ControllerManager: true, CRDs: true, Log: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	clients := kubernetes.NewForConfigOrDie(c.Config)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}
	if _, err := clients.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "it"}}
	if _, err := clients.CoreV1().Secrets("gone").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var account *kubernetes.Clientset
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		cfg, err := c.ServiceAccount(ctx, "gone", "default", time.Hour)
		if err != nil {
			return false, nil //nolint:nilerr // the ServiceAccount is made by the controller manager
		}
		account = kubernetes.NewForConfigOrDie(cfg)
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := account.CoreV1().Secrets("gone").Get(ctx, "it", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a ServiceAccount without permissions reads a Secret: %v", err)
	}
	if out, err := c.Kubectl(ctx, "delete", "namespace", "gone", "--timeout=30s"); err != nil {
		t.Errorf("deleting the namespace: %v: %s", err, out)
	}
}

// A start that fails half-way says which program is to blame, and leaves nothing behind.
func TestFailedStart(t *testing.T) {
	found, err := assets.Find()
	if err != nil {
		t.Fatal(err)
	}
	broken, tmp := t.TempDir(), t.TempDir()
	for _, name := range assets.Names {
		if err := os.Symlink(filepath.Join(found, name), filepath.Join(broken, name)); err != nil {
			t.Fatal(err)
		}
	}
	manager := filepath.Join(broken, "kube-controller-manager")
	if err := errors.Join(os.Remove(manager), os.WriteFile(manager, []byte("#!/bin/sh\nexit 3\n"), 0o700)); err != nil { // #nosec G306 -- it is a program
		t.Fatal(err)
	}
	t.Setenv(assets.Env, broken)
	t.Setenv("TMPDIR", tmp)
	c, err := testenv.Start(testenv.Options{ControllerManager: true})
	if err == nil {
		t.Fatal("it started", c.Stop())
	}
	if !strings.Contains(err.Error(), "waiting for kube-controller-manager: it ended: exit status 3") {
		t.Errorf("the error does not name the program: %v", err)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// The folder is in the command line of each of the three. (Where there is no /proc, this sees nothing.)
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		args, err := os.ReadFile(command) // #nosec G304 -- found by the pattern
		if err == nil && strings.Contains(string(args), tmp) {
			t.Errorf("still running: %q", args)
		}
	}
}
