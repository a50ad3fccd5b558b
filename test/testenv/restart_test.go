// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// A restarted control plane is made of new processes, has its data, and its controllers work.
func TestRestart(t *testing.T) {
	c, err := Start(Options{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	namespaces := kubernetes.NewForConfigOrDie(c.Config).CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stays"}}
	if _, err := namespaces.Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := c.managers[0].cmd.Process.Pid
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if c.managers[0].cmd.Process.Pid == before {
		t.Error("kube-controller-manager is the one from before")
	}
	// The finalizer of a namespace is taken away by kube-controller-manager.
	if out, err := c.Kubectl(t.Context(), "delete", "namespace", "stays", "--timeout=60s"); err != nil {
		t.Errorf("deleting the namespace: %v: %s", err, out)
	}
}
